"""Whether the devices of a space have come to the same view: each states the digest of its own now and then, and compares.

A statement says which events it is about. Who holds just these, with the same version of the app, reads its own view and
compares; who holds others passes over it, because nothing follows from a difference. If there is one, something is wrong
somewhere, and the log here is the measure of what is here: the view is rebuilt from it, and compared again.

What waits to be compared is kept nowhere: the statements are in the log, and those without a finding are found there again
after a crash. A finding is written in the transaction of the rebuild it is about.
"""

import logging
from collections.abc import Callable, Mapping
from threading import RLock
from typing import TYPE_CHECKING, Final

import apsw

from driftlog._core.clock import Hlc, Timestamp
from driftlog._core.ids import DeviceKey, EventHash, short
from driftlog._core.statement import Statement
from driftlog._sqlite.storage_errors import storage_errors
from driftlog._store.chain import Chains
from driftlog._store.findings import Agreement, Finding, Findings, Rebuilt, read_findings, write_findings
from driftlog._store.meta import Meta
from driftlog._store.stated import Stated, ViewSource, last_statement_of, statements_at_end
from driftlog._store.view import view_digest
from driftlog.space.status import Comparison

if TYPE_CHECKING:
    from driftlog.space.engine import Engine

_log = logging.getLogger("driftlog")

QUIET_MS: Final = 60_000
"""Nothing has been said for so long: others have likely received what is here, so that they can compare."""

STATE_EVERY_MS: Final = 60 * 60_000
"""At most: a statement is an envelope of half a kilobyte on every device, and each reads its whole view for it."""

COMPARE_EVERY_MS: Final = 10 * 60_000
"""At most, while syncing: reading costs about a microsecond a row, and who makes others read may mean harm. Ten million rows
are then some 2 % of a core."""

REBUILD_EVERY_MS: Final = 24 * 60 * 60_000
"""At most: a member that states what is not so costs the others one rebuild a day, however many keys it has."""

NO_VIEW: Final = b""
"""Stands for the digest of tables that cannot be read as the app declares them, and equals none."""

OnDivergence = Callable[[Comparison], None]


def is_over(since_ms: int | None, period_ms: int, now_ms: int) -> bool:
    """Tell whether a while has passed. A clock that was set back would make years of it, so then it has."""
    return since_ms is None or now_ms < since_ms or now_ms - since_ms >= period_ms


def is_due(last: Stated | None, program: bytes, events: bytes, rebuilt: Rebuilt | None, now_ms: int) -> bool | None:
    """Tell whether a device that has been quiet is to state its digest; None if there is nothing to state.

    `last` is what it stated last. What it said of the same events it does not say again, except where that was wrong.
    """
    if last is None:
        return True
    if (last.statement.program, last.statement.events) != (program, events):
        return is_over(last.wall_ms, STATE_EVERY_MS, now_ms)
    is_corrected = rebuilt is not None and rebuilt.events == events and last.wall_ms <= rebuilt.ms
    return True if is_corrected and rebuilt is not None and rebuilt.view != last.statement.view else None


def judge(stated: bytes, view: bytes, events: bytes, rebuilt: Rebuilt | None, now_ms: int) -> Agreement | None:
    """Say what a comparison comes to; None if only a rebuild can tell."""
    if stated == view:
        return Agreement.EQUAL
    if rebuilt is not None and (rebuilt.events, rebuilt.view) == (events, view):
        return Agreement.DIFFERENT
    return None if may_rebuild(rebuilt, now_ms) else Agreement.SUSPECTED


def may_rebuild(rebuilt: Rebuilt | None, now_ms: int) -> bool:
    """Tell whether the view may be rebuilt on another's word again."""
    return is_over(rebuilt.ms if rebuilt is not None else None, REBUILD_EVERY_MS, now_ms)


def comparison(findings: Findings, device: DeviceKey) -> Comparison | None:
    """Give the finding about a device as people read it."""
    found = findings.of(device)
    if found is None:
        return None
    at = Timestamp(Hlc(found.hlc), device, EventHash(found.event_hash))
    return Comparison(device, found.agreement, at, found.found_ms, found.equal_ms)


class Comparing:
    """States and compares for one open space. Nothing of it runs while the write lock is held, but the writing itself."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._program = engine.program.fingerprint
        self._own = engine.keys.device_key
        self._source = ViewSource(self._own, engine.exchange.open)
        # Reentrant: what a rebuild changed is told within it, and who is told may use the space.
        self._lock = RLock()
        self._callbacks: dict[object, OnDivergence] = {}
        self._changes_seen = -1
        self._quiet_since_ms = 0
        self._is_compared = self._is_at_rest = False
        self._compared_ms: int | None = None
        self._tried_ms: int | None = None

    # --- what is asked for ---------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Do what is due: compare what has been stated, and state what has been quiet for a while."""
        if not self._lock.acquire(blocking=False):
            return  # Another thread is at it.
        try:
            found = self._look(self._engine.clock())
        finally:
            self._lock.release()
        self._tell(found)

    def compare(self) -> tuple[Comparison, ...]:
        """Compare what has been stated and can be compared now, and give what came of it."""
        self._engine.check_writable()
        with self._lock:
            found = self._compare(self._engine.clock(), is_asked=True)
        self._tell(found)
        return found

    def state(self) -> Timestamp | None:
        """State the digest of the view, unless this device has said just that last."""
        self._engine.check_writable()
        self._engine.seal()
        with self._lock:
            with storage_errors(self._engine.path), self._engine.reader.apart() as connection:
                events = self._source.digest(connection) if self._is_view_current(connection) else None
                if events is None:
                    return None
                view = self._view(connection)
            return self._append(events, view)

    def add(self, callback: OnDivergence) -> Callable[[], None]:
        """Add a callback for differences, and give the function that removes it."""
        key = object()
        self._callbacks[key] = callback

        def remove() -> None:
            self._callbacks.pop(key, None)

        return remove

    # --- when ----------------------------------------------------------------------------------------------------------

    def _look(self, now_ms: int) -> tuple[Comparison, ...]:
        changes = self._engine.changed.count
        if changes != self._changes_seen or now_ms < self._quiet_since_ms:
            self._changes_seen, self._quiet_since_ms = changes, now_ms
            self._is_compared = self._is_at_rest = False
        found: tuple[Comparison, ...] = ()
        if not self._is_compared and is_over(self._compared_ms, COMPARE_EVERY_MS, now_ms):
            found = self._compare(now_ms)
        is_quiet = now_ms - self._quiet_since_ms >= QUIET_MS
        if not self._is_at_rest and is_quiet and is_over(self._tried_ms, QUIET_MS, now_ms):
            self._tried_ms = now_ms
            self._is_at_rest = self._state_if_due(now_ms)
        return found

    def _state_if_due(self, now_ms: int) -> bool:
        """State the digest if it is time to; tells whether there is nothing more to say until something changes."""
        with storage_errors(self._engine.path), self._engine.reader.apart() as connection:
            is_alone = not Chains(connection).version_vector().keys() - {self._own}
            if is_alone or not self._is_view_current(connection):
                return True
            events = self._source.digest(connection)
            if events is None:
                return False
            last, rebuilt = last_statement_of(connection, self._own), read_findings(Meta(connection)).rebuilt
            due = is_due(last, self._program, events, rebuilt, now_ms)
            if not due:
                return due is None
            view = self._view(connection)
        self._append(events, view)
        return True

    # --- stating -------------------------------------------------------------------------------------------------------

    def _append(self, events: bytes, view: bytes) -> Timestamp | None:
        if view == NO_VIEW:
            return None
        statement = Statement(self._program, events, view)
        with self._engine.writing() as store:
            last = last_statement_of(store.connection, self._own)
            # Others may have written since the view was read, another process that looks around like this one among them.
            if (last is not None and last.statement == statement) or self._source.digest(store.connection) != events:
                return None
            at = store.state(statement)
        self._engine.changed.tell()
        return at

    # --- comparing -----------------------------------------------------------------------------------------------------

    def _compare(self, now_ms: int, *, is_asked: bool = False) -> tuple[Comparison, ...]:
        with storage_errors(self._engine.path), self._engine.reader.apart() as connection:
            findings = read_findings(Meta(connection))
            stated = self._comparable(connection, findings)
            # What is suspected is looked at again only when the view may be rebuilt again, or somebody may have done so.
            is_second_look = is_asked or may_rebuild(findings.rebuilt, now_ms)
            suspected = [one for one in stated if _agreement(findings, one) is Agreement.SUSPECTED]
            due = [one for one in stated if _agreement(findings, one) is None] + (suspected if is_second_look else [])
            self._is_compared = is_second_look or not suspected
            if due or suspected:
                self._compared_ms = now_ms
            if not due:
                return ()
            events, view = due[0].statement.events, self._view(connection)
        agreements = {one: judge(one.statement.view, view, events, findings.rebuilt, now_ms) for one in due}
        if None in agreements.values():
            return self._rebuild(stated, events, now_ms)
        with self._engine.writing() as store:
            return self._note(Meta(store.connection), agreements, now_ms)

    def _comparable(self, connection: apsw.Connection, findings: Findings) -> list[Stated]:
        """Give the others' last statements about just what this device holds; none if nothing is left to be said of them."""
        if not self._is_view_current(connection):
            return []
        stated = [
            one
            for device, one in statements_at_end(connection).items()
            if device != self._own and one.statement.program == self._program
        ]
        if all(_agreement(findings, one) not in (None, Agreement.SUSPECTED) for one in stated):
            return []
        events = self._source.digest(connection)
        return [one for one in stated if one.statement.events == events]

    def _rebuild(self, stated: list[Stated], events: bytes, now_ms: int) -> tuple[Comparison, ...]:
        """Make the view anew, and say what is to be said of all that was stated about it, in one transaction."""
        names = ", ".join(short(one.timestamp.device) for one in stated)
        with self._engine.writing() as store:
            connection, meta = store.connection, Meta(store.connection)
            findings = read_findings(meta)
            if not may_rebuild(findings.rebuilt, now_ms):
                # Another process was faster, and has found what this one would.
                return ()
            _log.warning(
                "the tables of %s may be wrong: they are compared with %s and rebuilt", self._engine.path, names
            )
            # Read again: what was written since the comparison may have changed the view.
            before = self._view(connection)
            store.rebuild()
            after = self._view(connection)
            is_the_same = self._source.digest(connection) == events
            rebuilt = Rebuilt(now_ms, events if is_the_same else NO_VIEW, after)
            write_findings(meta, Findings(findings.by_device, rebuilt))

            self._is_at_rest = False
            if not is_the_same and before == after:
                # What was stated is about other events than those this has been found for, and can be compared no more.
                return ()
            mended = Agreement.EQUAL if before == after else Agreement.MENDED
            agreements = {
                one: Agreement.DIFFERENT if is_the_same and one.statement.view != after else mended for one in stated
            }
            return self._note(meta, agreements, now_ms)

    def _note(self, meta: Meta, agreements: Mapping[Stated, Agreement | None], now_ms: int) -> tuple[Comparison, ...]:
        """Keep what came of statements, within a transaction, and give what is news."""
        findings = read_findings(meta)
        by_device = dict(findings.by_device)
        found: list[DeviceKey] = []
        for one, agreement in agreements.items():
            at = one.timestamp
            before = findings.of(at.device)
            assert agreement is not None, "what a rebuild must tell, it has told"
            is_equal = agreement in (Agreement.EQUAL, Agreement.MENDED)
            equal_ms = now_ms if is_equal else before.equal_ms if before is not None else None
            by_device[at.device] = Finding(at.hlc, at.event_hash, agreement, now_ms, equal_ms)
            if agreement is Agreement.SUSPECTED:
                self._is_compared = False
            if _agreement(findings, one) is not agreement:
                found.append(at.device)
        after = Findings(by_device, findings.rebuilt)
        write_findings(meta, after)
        return tuple(told for device in found if (told := comparison(after, device)) is not None)

    def _tell(self, found: tuple[Comparison, ...]) -> None:
        """Report differences, without any lock."""
        for one in found:
            if one.agreement is Agreement.EQUAL:
                continue
            _log.warning("%s: %s", self._engine.path, _EXPLAINED[one.agreement] % short(one.device))
            for callback in list(self._callbacks.values()):
                try:
                    callback(one)
                except Exception:  # noqa: BLE001 - a callback is the app's code, and raises what it likes
                    _log.exception(
                        "%r raised on a difference; the others are told all the same, mend the callback", callback
                    )

    # --- reading -------------------------------------------------------------------------------------------------------

    def _is_view_current(self, connection: apsw.Connection) -> bool:
        return Meta(connection).get("view") == self._program

    def _view(self, connection: apsw.Connection) -> bytes:
        try:
            return view_digest(connection, self._engine.program.tables)
        except apsw.SQLError:
            # Somebody has dropped a table or a column: that is a difference, too.
            return NO_VIEW


def _agreement(findings: Findings, one: Stated) -> Agreement | None:
    """Give what came of just this statement; None if it is new."""
    found = findings.of(one.timestamp.device)
    return found.agreement if found is not None and found.is_of(one.timestamp) else None


_EXPLAINED: Final = {
    Agreement.MENDED: "the tables differed from those of device %s, were wrong, and have been rebuilt from the log",
    Agreement.DIFFERENT: "the tables differ from those of device %s, also after those here were rebuilt from the log: the "
    "other's are wrong, or a materializer is not deterministic, which driftlog.testing.check_determinism finds",
    Agreement.SUSPECTED: "the tables differ from those of device %s; they were rebuilt for the like less than a day ago, so "
    "they will be later, or by space.rebuild()",
}
