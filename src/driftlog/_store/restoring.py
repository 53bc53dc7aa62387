"""A space's file made anew, in memory, of what in the old one proves itself: envelopes by signature, events by hash.

Nearly all of a file follows from its envelopes and from this device's events that are in none yet: the log, what became of
each event, undo data, view, chains and heads. So this is both what a repair writes, and what a verification compares with.
What proves nothing by itself is taken over as it is: local tables, and how far relays were read.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import apsw

from driftlog._core.batch import Batch
from driftlog._core.clock import Hlc, Timestamp, is_held
from driftlog._core.envelope import Envelope
from driftlog._core.event import Record, place
from driftlog._core.ids import NO_ENVELOPE, DeviceKey, EnvelopeHash, SpaceId
from driftlog._core.version_vector import Head
from driftlog._sqlite.connection import connect
from driftlog._sqlite.sqltext import quote
from driftlog._sqlite.transactions import write_transaction
from driftlog._store import schema
from driftlog._store.damage import FETCHED, KEPT, LOST, REBUILDS, Finding
from driftlog._store.facts import NAME, mend_mark, rightly_named
from driftlog._store.local import set_local_names
from driftlog._store.local_restoring import local_tables
from driftlog._store.log import STATES, Log, State
from driftlog._store.meta import Branch, Fact, Meta, RelayMark
from driftlog._store.own_chain_restoring import OwnEnvelope, own_end
from driftlog._store.program import Program
from driftlog._store.salvage import rows_of
from driftlog._store.store import Store
from driftlog._store.view import View
from driftlog.errors import InvalidEnvelope

_LOG_COLUMNS: Final = ("hlc", "device", "hash", "wall_ms", "CAST(name AS BLOB)", "version", "payload", "state")
_LOG_KEYS: Final = {"driftlog_log": ("hlc",), "driftlog_tie": ("hlc", "device", "hash")}


@dataclass(frozen=True, slots=True)
class Context:
    """What a restoration is told: whose file it is, and what opens its envelopes."""

    program: Program
    space: SpaceId
    device: DeviceKey
    now_ms: int
    open_envelope: Callable[[bytes], tuple[Envelope, Batch]]
    seal: Callable[..., Envelope]


@dataclass(slots=True)
class _Chained:
    """An envelope in its chain, and the events of it that count."""

    number: int
    envelope: Envelope
    last_hlc: int
    void_count: int
    is_chained: bool


@dataclass(slots=True)
class Restored:
    """A database in memory as the file should be, and what in the file was not so."""

    connection: apsw.Connection
    findings: list[Finding] = field(default_factory=list)
    has_lost_envelopes: bool = False


def restore(source: apsw.Connection, context: Context) -> Restored:
    """Make a space anew of what can be read through a connection, within the caller's read transaction if it has one."""
    return _Restoration(source, context).run()


class _Restoration:
    def __init__(self, source: apsw.Connection, context: Context) -> None:
        self._source = source
        self._context = context
        self._findings: list[Finding] = []
        self._is_lost = False

    def run(self) -> Restored:
        chains, events = self._chains()
        facts = self._facts()
        branch, is_whole = self._own_end(chains, events)
        there, held = self._sort_out(events, branch, is_own_whole=is_whole)
        remedy = mend_mark(facts, events)
        if remedy is not None:
            self._found("fact", "the mark of the effects that have run names no event", remedy)
        connection = connect(":memory:", page_bytes=_page_bytes(self._source))
        try:
            with write_transaction(connection):
                self._write(connection, chains, facts, branch)
                # In the file's order: of events with one stamp, the first lies in the one table, the others in the other.
                for at in dict.fromkeys((*there, *sorted(events))):
                    Log(connection).insert(at, events[at], State.HELD if at in held else State.APPLIED)
            self._rebuild(connection)
        except BaseException:
            connection.close()
            raise
        return Restored(connection, self._findings, self._is_lost)

    def _found(self, part: str, problem: str, remedy: str) -> None:
        self._findings.append(Finding(part, problem, remedy))

    def _rows(self, table: str, columns: tuple[str, ...], key: tuple[str, ...]) -> list[tuple[Any, ...]]:
        rows, said = rows_of(self._source, table, columns, key)
        if said is not None:
            self._found("structure", f"{table} cannot be read to its end ({said})", KEPT)
        return rows

    # --- facts --------------------------------------------------------------------------------------------------------

    def _facts(self) -> dict[Fact, Any]:
        facts, remedies = rightly_named(dict(self._rows("driftlog_meta", (NAME, "value"), (NAME,))))
        for remedy in remedies:
            self._found("fact", "a fact has a name that is none", remedy)
        return facts

    # --- envelopes ---------------------------------------------------------------------------------------------------

    def _chains(self) -> tuple[list[_Chained], dict[Timestamp, Record]]:
        """Open every envelope, put each after its predecessor, and give the events of those whose chain is complete."""
        opened: dict[tuple[DeviceKey, int, EnvelopeHash], tuple[int, Envelope, Batch]] = {}
        for number, raw in self._rows("driftlog_envelope", ("id", "raw"), ("id",)):
            try:
                envelope, batch = self._context.open_envelope(bytes(raw))
            except (InvalidEnvelope, TypeError) as error:
                self._is_lost = True
                self._found("envelope", f"envelope {number} of the file is damaged ({error})", FETCHED)
                continue
            header = envelope.header
            opened.setdefault((header.device, header.batch_seq, envelope.hash), (number, envelope, batch))
        chained: dict[tuple[DeviceKey, int, EnvelopeHash], int] = {}
        chains: list[_Chained] = []
        events: dict[Timestamp, Record] = {}
        for (device, seq, hashed), (number, envelope, batch) in sorted(opened.items(), key=lambda item: item[0][:2]):
            previous = envelope.header.previous
            last = 0 if previous == NO_ENVELOPE else chained.get((device, seq - 1, previous))
            if last is None:
                chains.append(_Chained(number, envelope, 0, 0, is_chained=False))
                continue
            valid = [record for record in batch.records if record.hlc > last]
            end = chained[device, seq, hashed] = max(last, batch.records[-1].hlc)
            chains.append(_Chained(number, envelope, end, len(batch.records) - len(valid), is_chained=True))
            events |= {place(self._context.space, device, record): record for record in valid}
        return chains, events

    def _own_end(self, chains: list[_Chained], events: Mapping[Timestamp, Record]) -> tuple[Branch, bool]:
        own = self._context.device
        there = {
            Head(each.envelope.header.batch_seq, each.envelope.hash): OwnEnvelope(each.last_hlc, each.is_chained)
            for each in chains
            if each.envelope.header.device == own
        }
        loose = [at.hlc for at, record, _ in self._logged if record and at.device == own and at not in events]
        return own_end(self._source, there, loose, self._found)

    # --- events ------------------------------------------------------------------------------------------------------

    @cached_property
    def _logged(self) -> list[tuple[Timestamp, Record | None, int]]:
        """The rows of the log in the file's order, without a record where it is not what its hash says, and their states."""
        found: list[tuple[Timestamp, Record | None, int]] = []
        for table, key in _LOG_KEYS.items():
            for row in self._rows(table, _LOG_COLUMNS, key):
                at, record = _event(row)
                is_sound = record is not None and place(self._context.space, at.device, record) == at
                found.append((at, record if is_sound else None, row[7]))
        return found

    def _sort_out(
        self, events: dict[Timestamp, Record], branch: Branch, *, is_own_whole: bool
    ) -> tuple[list[Timestamp], set[Timestamp]]:
        """Add this device's own events that are in no envelope, say which rows are damaged or missing.

        Gives those whose rows are sound, in the file's order, and those that are held.
        """
        context = self._context
        expected = set(events)
        there: dict[Timestamp, None] = {}
        held: set[Timestamp] = set()
        damaged: list[Timestamp] = []
        for at, record, state in self._logged:
            if record is None:
                damaged.append(at)
            elif at in expected or (at.device == context.device and (at.hlc > branch.last_hlc or not is_own_whole)):
                events[at] = record
                there[at] = None
                if state == STATES.index(State.HELD) and is_held(at.hlc, context.now_ms):
                    held.add(at)
            else:
                self._found("event", f"the event with stamp {at.hlc} is in no envelope", "repair drops it")
        missing = expected.difference(there)
        for number, at in enumerate(damaged):
            # What was damaged may be what says which event it is: as many as are missing can be in envelopes.
            remedy = LOST if number >= len(missing) else "repair takes it from its envelope"
            self._found("event", f"the row of the event with stamp {at.hlc} is not what its hash says", remedy)
        for at in sorted(missing)[:1]:
            self._found(
                "event",
                f"{len(missing)} events of envelopes are not in the log, the first with stamp {at.hlc}",
                REBUILDS,
            )
        return list(there), held | {
            at for at in missing if at.device != context.device and is_held(at.hlc, context.now_ms)
        }

    # --- the new database --------------------------------------------------------------------------------------------

    def _write(
        self, connection: apsw.Connection, chains: list[_Chained], facts: Mapping[Fact, Any], branch: Branch
    ) -> None:
        context = self._context
        schema.create(connection)
        meta = Meta(connection)
        for key, value in facts.items():
            if isinstance(value, bytes):
                meta.set(key, value)
        meta.set("device", context.device)
        meta.set("view", context.program.fingerprint)
        if branch.head is not None or "own_branch" in facts:
            meta.set_own_branch(branch)
        for epoch, key in self._rows("driftlog_epoch", ("id", "key"), ("id",)):
            with self._taking_over("an epoch's key"):
                meta.add_epoch(epoch, key)
        told = {
            (device, hashed): is_told
            for device, hashed, is_told in self._rows(
                "driftlog_head", ("device", "hash", "is_told"), ("device", "hash")
            )
        }
        followed = {(each.envelope.header.device, each.envelope.header.previous) for each in chains if each.is_chained}
        for each in chains:
            envelope, header = each.envelope, each.envelope.header
            connection.execute(
                "INSERT INTO driftlog_envelope VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    each.number,
                    header.device,
                    header.batch_seq,
                    envelope.hash,
                    each.last_hlc,
                    each.void_count,
                    int(each.is_chained),
                    envelope.raw,
                ),
            )
            if each.is_chained and (header.device, envelope.hash) not in followed:
                connection.execute(
                    "INSERT INTO driftlog_head (device, hash, batch_seq, last_hlc, is_told) VALUES (?, ?, ?, ?, ?)",
                    (
                        header.device,
                        envelope.hash,
                        header.batch_seq,
                        each.last_hlc,
                        1 if told.get((header.device, envelope.hash)) == 1 else 0,
                    ),
                )
        columns = ("url", "birthday", "cursor", "confirmed_seq", "refused", "refused_reason")
        for url, *mark in self._rows("driftlog_relay", columns, ("url",)):
            with self._taking_over("what is known of a relay"):
                meta.set_relay(url, RelayMark(*mark))
        local = local_tables(self._source, context.program, self._found)
        if local:
            set_local_names(connection, local)
        View(connection, context.program.tables).create()
        self._copy_local(connection, local)

    @contextmanager
    def _taking_over(self, what: str) -> Iterator[None]:
        """Pass over a row that cannot be one of its table."""
        try:
            yield
        except (apsw.ConstraintError, apsw.MismatchError, TypeError, ValueError) as error:
            self._found("fact", f"{what} is damaged ({error})", "repair drops it")

    def _copy_local(self, connection: apsw.Connection, tables: dict[str, str]) -> None:
        """Take over the app's local tables."""
        for name, sql in tables.items():
            connection.execute(sql)
            name = quote(name)
            columns = [str(row[1]) for row in connection.execute(f"PRAGMA table_info({name})")]
            listed = tuple(quote(column) for column in columns)
            places = ", ".join("?" * len(listed))
            for row in self._rows(name, listed, listed):
                with self._taking_over(f"a row of the local table {name}"):
                    connection.execute(f"INSERT OR IGNORE INTO {name} VALUES ({places})", row)
        for index in self._context.program.local.indexes:
            connection.execute(index.sql)

    def _rebuild(self, connection: apsw.Connection) -> None:
        context = self._context
        store = Store(
            connection,
            context.program,
            space=context.space,
            device=context.device,
            # A clock at the beginning releases nothing that is held.
            clock=lambda: 0,
            seal=context.seal,
            open_envelope=context.open_envelope,
        )
        with store.transaction():
            store.rebuild()


def _event(row: tuple[Any, ...]) -> tuple[Timestamp, Record | None]:
    """Read a row of the log, whatever it holds."""
    hlc, device, hashed, wall_ms, name, version, payload, _ = row
    at = Timestamp(Hlc(hlc), device, hashed)
    try:
        record = Record(Hlc(hlc), wall_ms, bytes(name).decode(), version, bytes(payload))
        place(SpaceId(bytes(32)), DeviceKey(bytes(device)), record)
    except Exception:  # noqa: BLE001 - a row that cannot be an event at all is damaged, in whatever way
        return at, None
    return at, record


def _page_bytes(source: apsw.Connection) -> int:
    size: int = source.pragma("page_size")
    return size
