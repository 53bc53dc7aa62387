"""The fold: how events take their place in the log and change the view, each of them once.

What arrives in one batch costs one rebase. Arrivals are woven in where they belong: each is applied to the view as it
stands, and if what it touched was touched later, those later events are undone with all that depends on them, and follow it
again. Where too many would be undone, all of them are: the view is taken back to the first arrival, or emptied, and the log
from there on is replayed merged with what arrived.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import apsw

from driftlog._core.clock import Timestamp
from driftlog._core.event import Event, Record
from driftlog._core.merge import Extend, Way, Weave, is_rebuild_cheaper, plan_rebase, undone_one_by_one_max
from driftlog._core.retraction import is_control, is_retracting, named_by, retracted_by
from driftlog._core.seen import is_seen
from driftlog._core.statement import is_statement, stated_by
from driftlog._core.touch import TouchIndex
from driftlog._core.values import FLOAT_MARKER, OutsideDomain, check_payload
from driftlog._store.log import BEFORE_ALL, Entry, Log, State
from driftlog._store.program import Program, Rejection
from driftlog._store.reading import read_event
from driftlog._store.tail import Tail
from driftlog._store.view import Guard, Unreadable, View
from driftlog.errors import InvalidEvent

_log = logging.getLogger("driftlog")


class Outcome(NamedTuple):
    """What became of an event when it was applied in its place."""

    state: State
    reason: str | None = None
    undo: bytes | None = None
    touch: bytes | None = None


class Arrival(NamedTuple):
    """An event that joins the order."""

    timestamp: Timestamp
    record: Record
    held: Entry | None = None
    """Its entry, if it was held until now."""


class Verdict(NamedTuple):
    """An event whose state is another than before."""

    entry: Entry
    before: State | None
    """None for an event that is new."""


class Integrated(NamedTuple):
    """What one rebase did."""

    applied: int
    """Events that took their place, replayed ones included."""
    replayed: int
    """Events that had been applied before and were replayed."""
    way: Way | None
    """How it was done, None for nothing."""
    verdicts: tuple[Verdict, ...] = ()
    """What became of events otherwise than before."""


Progress = Callable[[int], None]
"""Told how many events have been replayed, every so often."""

PROGRESS_EVENTS = 1_000

_UNKNOWN = Outcome(State.UNKNOWN)


class Fold:
    """Applies events to one view and records the outcome in one log, within the caller's transaction."""

    def __init__(self, connection: apsw.Connection, log: Log, view: View, program: Program) -> None:
        self._control = connection.cursor().execute
        self._log = log
        self._view = view
        self._program = program
        self.tail = Tail(log, view)
        self._retracted: frozenset[Timestamp] | None = None

    def apply_new(self, event: Event, at: Timestamp, record: Record) -> Entry:
        """Apply a new event of this device, and give its entry for the log.

        A `Rejection` leaves it to the caller to undo what was begun.
        """
        materializer = self._program.readings[record.name, record.marked_version]
        effect = self._view.apply(materializer, event, at, record.wall_ms, guard=Guard.CALLER)
        return Entry(at, record, State.APPLIED, None, *effect)

    def log_new(self, entries: list[Entry], *, may_tie: bool) -> None:
        """Log what `apply_new` gave, in order."""
        self._log.append(entries, may_tie=may_tie)
        self.tail.add(entries)

    def integrate(self, arrived: list[Arrival], last: Timestamp | None) -> Integrated:
        """Take in events that are neither void nor still held; `last` is the greatest timestamp placed so far.

        `arrived` may hold events whose time has come: those are in the log already, as held.
        """
        if not arrived:
            return Integrated(0, 0, None)
        revised = self._revised_by(arrived)
        places = [arrival.timestamp for arrival in arrived] + [entry.timestamp for entry in revised]
        match plan_rebase(last, places):
            case Extend():
                return self._replay(min(arrived).timestamp, arrived, Way.EXTENDED)
            case Weave(start):
                return self._weave(start, arrived, revised) or self._replay_from(start, arrived)

    def retracted(self) -> frozenset[Timestamp]:
        """Give the events that are undone."""
        if self._retracted is None:
            self._retracted = retracted_by(self._log.controls())
        return self._retracted

    def meant_by(self, events: Iterable[Timestamp]) -> list[Timestamp]:
        """Give the app's events that are meant: where an undo or redo is named, those that it names.

        Raises `InvalidEvent` for one that is not in the log.
        """
        meant: dict[Timestamp, None] = {}
        for at in events:
            entry = self._log.find(at)
            if entry is None:
                raise InvalidEvent(f"there is no event {at} in the log; give a timestamp that append or the log gave")
            meant |= dict.fromkeys(named_by(entry.record) or [at])
        return list(meant)

    def _revised_by(self, arrived: list[Arrival]) -> list[Entry]:
        """Take note of the undos and redos among arrivals, and give the placed events that are to be judged anew."""
        controls = [(arrival.timestamp, arrival.record) for arrival in arrived if is_retracting(arrival.record)]
        if not controls:
            return []
        before = self.retracted()
        self._retracted = retracted_by(self._log.controls() + controls)
        entries = [self._log.find(at) for at in before ^ self._retracted]
        arriving = {arrival.timestamp for arrival in arrived}
        return [
            entry
            for entry in entries
            if entry is not None and entry.state is not State.HELD and entry.timestamp not in arriving
        ]

    def commit(self) -> None:
        """Take note that what was changed in the log stays."""
        self.tail.commit()

    def roll_back(self) -> None:
        """Take note that the log is as it was when the transaction, or the part of it, began."""
        self.tail.roll_back()
        self._retracted = None

    def forget(self) -> None:
        """Forget what is remembered of the log: another process has written."""
        self.tail.forget()
        self._retracted = None

    def rebuild(self, progress: Progress | None = None) -> Integrated:
        """Make the view anew from the whole log."""
        # Where the view was not the fold of the log, its events now touch other cells than before.
        self.tail.forget()
        self._view.drop()
        self._view.create()
        return self._replay(BEFORE_ALL, [], Way.REBUILT, progress)

    # --- undoing what depends on it -----------------------------------------------------------------------------------

    def _weave(self, start: Timestamp, arrived: list[Arrival], revised: list[Entry]) -> Integrated | None:
        """Apply arrivals among the events from `start` on, and events anew whose retraction they changed.

        None, with nothing changed, if too many would be undone.
        """
        index = self.tail.covering(start)
        if index is None:
            return None
        undone_max = undone_one_by_one_max(index.count_after(start))
        depending = index.closure((entry.timestamp for entry in revised if entry.timestamp in index), undone_max)
        if depending is None:
            self.tail.forget()
            return None
        # An event that arrives alone, and meets nobody, needs no savepoint.
        is_guarded = len(arrived) + len(revised) > 1
        if is_guarded:
            self._control("SAVEPOINT driftlog_weave")
        undone = depending | {entry.timestamp for entry in revised}
        due: list[_Step] = [*arrived, *((*entry[:2], entry) for entry in revised if entry.timestamp not in depending)]
        due += [(*entry[:2], entry) for entry in self._undo(index, depending)]
        heapify(due)
        verdicts: list[Verdict] = []
        applied = 0
        while due:
            # In order: whatever is applied now, nothing before it will be undone any more.
            step = heappop(due)
            at, record, before = step
            try:
                outcome = self._outcome(at, record, Guard.IMAGES if is_guarded else Guard.SAVEPOINT)
            except Unreadable:
                self._abandon_weave()
                return None
            touch = self._view.touch(outcome.undo, outcome.touch)
            conflicting = index.conflicting(at, touch)
            if conflicting:
                # It met what comes later, so what it did means nothing yet: it goes first, and they follow.
                if outcome.undo is not None:
                    self._view.rewind([outcome.undo])
                depending = index.closure(conflicting, undone_max - len(undone))
                if depending is None:
                    if is_guarded:
                        self._abandon_weave()
                    else:
                        self.tail.forget()
                    return None
                if not is_guarded:
                    self._control("SAVEPOINT driftlog_weave")
                    is_guarded = True
                undone |= depending
                for entry in self._undo(index, depending):
                    heappush(due, (entry.timestamp, entry.record, entry))
                heappush(due, step)
                continue
            index.add(at, touch)
            applied += 1
            self._settle(at, record, before, outcome, verdicts)
        if is_guarded:
            self._control("RELEASE driftlog_weave")
        return Integrated(applied, len(undone), Way.CLOSURE if undone else Way.IN_PLACE, tuple(verdicts))

    def _abandon_weave(self) -> None:
        self._control("ROLLBACK TO driftlog_weave")
        self._control("RELEASE driftlog_weave")
        self.tail.forget()

    def _undo(self, index: TouchIndex, events: Iterable[Timestamp]) -> list[Entry]:
        """Take events back that nothing else depends on, and give their entries."""
        entries = [self._log.entry(at) for at in sorted(events)]
        for entry in entries:
            index.remove(entry.timestamp)
        self._view.rewind([entry.undo for entry in entries if entry.undo is not None])
        return entries

    # --- undoing all ----------------------------------------------------------------------------------------------------

    def _replay_from(self, start: Timestamp, arrived: list[Arrival]) -> Integrated:
        later = self._log.count_from(start)
        self.tail.forget()
        if is_rebuild_cheaper(self._log.count() - later, later):
            self._view.clear()
            return self._replay(BEFORE_ALL, arrived, Way.REBUILT)
        self._view.rewind(self._log.undos(start))
        return self._replay(start, arrived, Way.REWOUND)

    def _replay(
        self, start: Timestamp, arrived: list[Arrival], way: Way, progress: Progress | None = None
    ) -> Integrated:
        """Replay the log from `start` on, which the view does not hold, merged with what arrived."""
        if way is Way.EXTENDED and len(arrived) == 1:
            return self._replay_guarded(start, arrived, way, progress, Guard.SAVEPOINT)
        # One savepoint for all: one for each event costs more than what nearly all of them do.
        self._control("SAVEPOINT driftlog_replay")
        try:
            integrated = self._replay_guarded(start, arrived, way, progress, Guard.IMAGES)
        except Unreadable:
            self._control("ROLLBACK TO driftlog_replay")
            self.tail.forget()
            integrated = self._replay_guarded(start, arrived, way, progress, Guard.SAVEPOINT)
        self._control("RELEASE driftlog_replay")
        return integrated

    def _replay_guarded(
        self, start: Timestamp, arrived: list[Arrival], way: Way, progress: Progress | None, guard: Guard
    ) -> Integrated:
        applied = replayed = 0
        verdicts: list[Verdict] = []
        arrived = sorted(arrived)
        due = {arrival.timestamp for arrival in arrived}
        for at, record, before in _in_order(self._log.entries(start), arrived):
            if before is not None:
                if before.state is not State.HELD:
                    replayed += 1
                elif at not in due:
                    continue
            outcome = self._outcome(at, record, guard)
            applied += 1
            self._settle(at, record, before, outcome, verdicts)
            if way is Way.EXTENDED:
                self.tail.add([Entry(at, record, *outcome)])
            if progress is not None and applied % PROGRESS_EVENTS == 0:
                progress(applied)
        return Integrated(applied, replayed, way, tuple(verdicts))

    # --- one event ------------------------------------------------------------------------------------------------------

    def _settle(
        self, at: Timestamp, record: Record, before: Entry | None, outcome: Outcome, verdicts: list[Verdict]
    ) -> None:
        """Write down what became of an event, and add that to the verdicts, if it is news."""
        if before is None:
            self._log.insert(at, record, *outcome)
        elif outcome != before[2:]:
            self._log.update(at, *outcome)
        if (before.state if before is not None else State.APPLIED) is not outcome.state:
            verdicts.append(Verdict(Entry(at, record, *outcome), before.state if before is not None else None))

    def _outcome(self, at: Timestamp, record: Record, guard: Guard) -> Outcome:
        # What is the engine's own is no app's: no materializer bears such a name.
        materializer = self._program.readings.get((record.name, record.marked_version))
        if materializer is None and is_control(record):
            return _outcome_of_control(record)
        retracted = self.retracted()
        if retracted and at in retracted:
            return Outcome(State.RETRACTED)
        if materializer is None:
            return _UNKNOWN
        # What an upgrade gives is checked where it is made: an app may have given up floats by an upgrade.
        if not materializer.upgrades and self._has_forbidden_float(record.payload):
            return Outcome(State.REJECTED, "it holds a float, which the app is not declared with")
        try:
            event = read_event(materializer, record, is_float_allowed=self._program.is_float_allowed)
        except Rejection as rejection:
            _log.warning("a %s was rejected: %s", record.name, rejection.reason, exc_info=rejection.__cause__)
            return Outcome(State.REJECTED, rejection.reason)
        try:
            return Outcome(State.APPLIED, None, *self._view.apply(materializer, event, at, record.wall_ms, guard=guard))
        except Rejection as rejection:
            return Outcome(State.REJECTED, rejection.reason, None, rejection.touch)

    def _has_forbidden_float(self, payload: bytes) -> bool:
        # Envelopes let floats through, because a relay's devices may know other apps' types; the app's own line is here.
        # The marker's byte is rare enough elsewhere to spare nearly every event the full check.
        if self._program.is_float_allowed or FLOAT_MARKER not in payload:
            return False
        try:
            check_payload(payload, is_float_allowed=False)
        except OutsideDomain:
            return True
        return False


def _outcome_of_control(record: Record) -> Outcome:
    if is_seen(record) or stated_by(record) is not None:
        return Outcome(State.APPLIED)
    if is_statement(record):
        return Outcome(State.REJECTED, f"{record.name} states no digest")
    if not is_retracting(record):
        return _UNKNOWN
    if named_by(record) is None:
        return Outcome(State.REJECTED, f"{record.name} names no events")
    return Outcome(State.APPLIED)


_Step = tuple[Timestamp, Record, Entry | None]


def _in_order(logged: Iterable[Entry], arrived: Sequence[Arrival]) -> Iterator[_Step]:
    """Merge the log with what arrived, in order; an arrival that is in the log already (held until now) is given once."""
    rest = iter(arrived)
    arrival = next(rest, None)
    for entry in logged:
        at = entry[0]
        while arrival is not None and arrival[0] < at:
            yield arrival[0], arrival[1], None
            arrival = next(rest, None)
        if arrival is not None and arrival[0] == at:
            arrival = next(rest, None)
        yield at, entry[1], entry
    while arrival is not None:
        yield arrival[0], arrival[1], None
        arrival = next(rest, None)
