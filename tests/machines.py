"""A device of a case: a real space beside the witness that is told the same, and the comparison of the two."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from driftlog import Space, Timestamp, VersionVector
from driftlog._store.log import BEFORE_ALL
from driftlog.errors import EventRejected
from tests.oracle import Place, Verdict, Witness
from tests.programs import TABLES, Did, DidAgain, DidLately, Variant, app_of
from tests.vectors.formats import Entry, place_of
from tests.vectors.msgpack import pack

CLOCK_MS_MAX = 2**46
Entropy = Callable[[int], bytes]


class Clock:
    """A clock that stands still until a case moves it."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.latest_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms

    def move(self, now_ms: int) -> None:
        """Show another time, in either direction."""
        self.now_ms = now_ms
        self.latest_ms = max(self.latest_ms, now_ms)


class _Undone(Exception):
    """Ends a transaction without a trace."""


class Machine:
    """One device."""

    def __init__(
        self, space: Space, clock: Clock, witness: Witness, variant: Variant, *, path: Path | None, entropy: Entropy
    ) -> None:
        self.space = space
        self.clock = clock
        self.witness = witness
        self.path = path
        self.is_new = True
        self.counts: Counter[str] = Counter()
        self._variant = variant
        self._entropy = entropy
        self._seen: Verdict | None = None

    # --- what a device does -----------------------------------------------------------------------------------------------

    def append(self, *events: Did | DidAgain | DidLately) -> bool:
        """Append events, hold the outcome to the oracle's (all in their places, or none), and say which it was."""
        entries = self._entries(events)
        before = self.space.digest()
        is_accepted = self._is_accepted(entries)
        try:
            timestamps = self.space.append(*events)
        except EventRejected:
            assert not is_accepted, f"the oracle accepts {events}"
            assert self.space.digest() == before, "a refused append left something behind"
            self.counts["refused appends"] += 1
            return False
        assert is_accepted, f"the oracle rejects {events}"
        for timestamp, entry in zip(timestamps, entries, strict=True):
            assert tuple(timestamp) == self.witness.make(entry), "an event's place is not what its content gives"
        self.counts["appends"] += 1
        return True

    def abandon(self, *events: Did | DidAgain | DidLately) -> None:
        """Append in a transaction that then fails: it must leave no trace, not even in what the engine remembers."""
        self.settle()
        before = self.space.digest()
        with suppress(_Undone), self.space.transaction() as tx:
            with suppress(EventRejected):
                tx.append(*events)
            raise _Undone
        assert self.space.digest() == before, "an abandoned transaction left something behind"
        self.counts["abandoned"] += 1

    def retract(self, places: list[Place], *, is_redo: bool) -> None:
        """Undo or redo events, and hold it to what the oracle says of the undone."""
        self.settle()
        undone = self.witness.undone()
        hlc = max((place[0] for place in self.witness.placed), default=0)
        changed = [place for place in dict.fromkeys(places) if (place in undone) is is_redo]
        timestamps = [Timestamp(*place) for place in places]  # type: ignore[arg-type]  # plain integers and bytes
        at = (self.space.redo if is_redo else self.space.undo)(*timestamps)
        assert (at is not None) == bool(changed)
        if at is not None:
            now_ms = self.clock.now_ms
            hlc = max(hlc + 1, now_ms * 65536 if now_ms <= CLOCK_MS_MAX else 0)
            payload = pack({"events": [place[0].to_bytes(8, "big") + place[1] + place[2] for place in changed]})
            entry = Entry(hlc, now_ms, "driftlog.redone" if is_redo else "driftlog.undone", 1, payload)
            assert tuple(at) == self.witness.make(entry), "an undo is not the event that it should be"
            self.counts["redos" if is_redo else "undos"] += 1

    def _entries(self, events: Iterable[Did | DidAgain | DidLately]) -> list[Entry]:
        """Write the events down as they must lie in the log."""
        self.settle()
        now_ms = self.clock.now_ms
        hlc = max((place[0] for place in self.witness.placed), default=0)
        entries = []
        for event in events:
            hlc = max(hlc + 1, now_ms * 65536 if now_ms <= CLOCK_MS_MAX else 0)
            payload = pack({"steps": event.steps})
            entries.append(Entry(hlc, now_ms, event.event_name, event.event_version, payload))
        return entries

    def _is_accepted(self, entries: Iterable[Entry]) -> bool:
        trial = self.witness.copy()
        places = [trial.make(entry) for entry in entries]
        return trial.verdict(self._variant, is_new=self.is_new).rejected().isdisjoint(places)

    def settle(self) -> None:
        """Let the device look at its clock, and the witness too."""
        self.space.receive([])
        self.witness.settle(self.clock.now_ms)

    def move_clock(self, now_ms: int) -> None:
        """Set the clock, after what the old time allowed has happened."""
        self.settle()
        self.clock.move(now_ms)

    def envelopes_for(self, vector: VersionVector) -> list[bytes]:
        """Give what another lacks; the witness hears of the device's own envelopes in this way."""
        envelopes = list(self.space.envelopes_for(vector))
        self.witness.learn(envelopes, self.clock.now_ms)
        return envelopes

    def receive(self, envelopes: list[bytes], altered: frozenset[int] = frozenset()) -> None:
        """Take in envelopes; those at the given places were altered on the way and must be refused."""
        self.settle()
        if any(place_of(raw)[0] == self.witness.device for at, raw in enumerate(envelopes) if at not in altered):
            # Before it takes in what bears its own key, a device seals what it has made: let the witness hear of it.
            self.envelopes_for(VersionVector())
        receipt = self.space.receive(envelopes)
        assert {refusal.index for refusal in receipt.refused} == altered, "what was altered is refused, nothing else"
        authentic = [raw for index, raw in enumerate(envelopes) if index not in altered]
        self.counts["late"] += self.witness.learn(authentic, self.clock.now_ms)
        self.counts["altered"] += len(altered)
        self.counts["waiting"] += bool(receipt.waiting)
        self.counts[str(receipt.way)] += receipt.way is not None

    def rebuild(self) -> None:
        """Make the view anew: nothing may differ."""
        self.settle()
        before = self.space.digest()
        self.space.rebuild()
        assert self.space.digest() == before, "a rebuild changed the view"
        self.counts["rebuilds"] += 1

    # --- files ------------------------------------------------------------------------------------------------------------

    def restart(self, *, is_new: bool) -> None:
        """Close the file and open it again, perhaps with another version of the app."""
        assert self.path is not None
        self.space.close()
        self.is_new = is_new
        self._open()
        self.counts["restarts"] += 1

    def copied(self, path: Path) -> "Machine":
        """Give a second device from a copy of this one's files, its key included: its owner restored a disk image."""
        assert self.path is not None
        self.space.close()
        for file in self.path.parent.glob(f"{self.path.name}*"):
            shutil.copy(file, path.with_name(path.name + file.name.removeprefix(self.path.name)))
        self._open()
        twin = Machine(
            self.space, Clock(self.clock.now_ms), self.witness.copy(), self._variant, path=path, entropy=self._entropy
        )
        twin.is_new = self.is_new
        twin._open()
        self.counts["copies"] += 1
        return twin

    def _open(self) -> None:
        assert self.path is not None
        app = app_of(self._variant, is_new=self.is_new)
        self.space = app.open(self.path, clock=self.clock, entropy=self._entropy)
        self.witness.device = self.space.device

    # --- the judgement ----------------------------------------------------------------------------------------------------

    def check(self) -> Verdict:
        """Compare the device with the oracle: every table, and every line of the log."""
        self.settle()
        verdict = self.witness.verdict(self._variant, is_new=self.is_new)
        self.compare(verdict)
        if self._seen is not None:
            self._count_flips(self._seen, verdict)
        self._seen = verdict
        return verdict

    def compare(self, verdict: Verdict) -> None:
        """Compare the device with a verdict that may have been reached for another."""
        log = list(self.space.log())
        places = [tuple(entry.timestamp) for entry in log]
        assert places == [line.place for line in verdict.log], "the log is not the sorted set of what counts"
        for entry, line in zip(log, verdict.log, strict=True):
            assert str(entry.state) == line.state, f"{line} is {entry.state} ({entry.reason}): {entry.event}"
            assert line.reason is None or entry.reason == line.reason, f"{line} is rejected for {entry.reason!r}"
            assert (entry.reason is None) == (line.state != "rejected"), "who is rejected is told why"
        for table in TABLES:
            rows = [tuple(row) for row in self.space.query(f"SELECT * FROM {table}")]
            assert len(rows) == len(verdict.tables[table])
            assert set(rows) == set(verdict.tables[table].values()), f"table {table} is not the fold of the log"

    def check_undo(self) -> None:
        """Take every event back, in a transaction that is undone itself: of the tables nothing must be left."""
        store = self.space._engine._store
        with suppress(_Undone), store.transaction():
            store.view.rewind(store.log.undos(BEFORE_ALL))
            for table in TABLES:
                left = store.connection.execute(f"SELECT * FROM {table}").fetchall()
                assert not left, f"the undo data leaves {left} in {table}"
            raise _Undone

    def _count_flips(self, before: Verdict, after: Verdict) -> None:
        was, now = before.rejected(), after.rejected()
        common = {line.place for line in before.log} & {line.place for line in after.log}
        self.counts["flipped"] += len((was ^ now) & common)

    def count(self, verdict: Verdict) -> None:
        """Count what the case met on this device."""
        states = Counter(line.state for line in verdict.log)
        for state in ("rejected", "held", "unknown"):
            self.counts[state] += states[state]
        self.counts["cascades"] += verdict.cascades
        self.counts["void"] += self.witness.counts["void"]
