"""The fold: how events take their place in the log and change the view, each of them once.

What arrives in one batch costs one rebase: the plan says from where to rewind, the view is taken back to there, and the
log from there on is replayed merged with what arrived.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from heapq import merge as merge_sorted
from operator import itemgetter
from typing import NamedTuple

from driftlog._core.clock import Timestamp
from driftlog._core.event import Event, Record
from driftlog._core.merge import Extend, Rewind, plan_rebase
from driftlog._core.values import FLOAT_MARKER, OutsideDomain, check_payload
from driftlog._store.log import BEFORE_ALL, Entry, Log, State
from driftlog._store.program import Program, Rejection
from driftlog._store.reading import read_event
from driftlog._store.view import View

_log = logging.getLogger("driftlog")


class Outcome(NamedTuple):
    """What became of an event when it was applied in its place."""

    state: State
    reason: str | None
    undo: bytes | None


class Arrival(NamedTuple):
    """An event that joins the order."""

    timestamp: Timestamp
    record: Record


class Integrated(NamedTuple):
    """What one rebase did."""

    applied: int
    """Events whose materializer ran, replayed ones included."""
    rewound: int
    """Events that had been applied before and were replayed."""


Progress = Callable[[int], None]
"""Told how many events have been replayed, every so often."""

PROGRESS_EVENTS = 1_000

_UNKNOWN = Outcome(State.UNKNOWN, None, None)


class Fold:
    """Applies events to one view and records the outcome in one log, within the caller's transaction."""

    def __init__(self, log: Log, view: View, program: Program) -> None:
        self._log = log
        self._view = view
        self._program = program

    def apply_new(self, event: Event, at: Timestamp, record: Record) -> Entry:
        """Apply a new event of this device, and give its entry for the log.

        A `Rejection` leaves it to the caller to undo what was begun.
        """
        materializer = self._program.readings[record.name, record.marked_version]
        undo = self._view.apply(materializer, event, at, record.wall_ms, is_guarded=False)
        return Entry(at, record, State.APPLIED, None, undo)

    def integrate(self, arrived: list[Arrival], last: Timestamp | None) -> Integrated:
        """Take in events that are neither void nor still held; `last` is the greatest timestamp placed so far.

        `arrived` may hold events whose time has come: those are in the log already, as held.
        """
        if not arrived:
            return Integrated(0, 0)
        match plan_rebase(last, [arrival.timestamp for arrival in arrived]):
            case Extend():
                return self._replay(min(arrived).timestamp, sorted(arrived))
            case Rewind(start):
                self._view.rewind(self._log.undos(start))
                return self._replay(start, sorted(arrived))

    def rebuild(self, progress: Progress | None = None) -> Integrated:
        """Make the view anew from the whole log."""
        self._view.drop()
        self._view.create()
        return self._replay(BEFORE_ALL, [], progress)

    def _replay(self, start: Timestamp, arrived: list[Arrival], progress: Progress | None = None) -> Integrated:
        applied = rewound = 0
        released = {arrival.timestamp for arrival in arrived}
        for at, record, before in _in_order(self._log.entries(start), arrived):
            if before is not None and before.state is State.HELD and at not in released:
                continue
            outcome = self._outcome(at, record)
            applied += 1
            if before is None:
                self._log.insert(at, record, *outcome)
            else:
                rewound += before.state is not State.HELD
                if outcome != (before.state, before.reason, before.undo):
                    self._log.update(at, *outcome)
            if progress is not None and applied % PROGRESS_EVENTS == 0:
                progress(applied)
        return Integrated(applied, rewound)

    def _outcome(self, at: Timestamp, record: Record) -> Outcome:
        materializer = self._program.readings.get((record.name, record.marked_version))
        if materializer is None:
            return _UNKNOWN
        # What an upgrade gives is checked where it is made: an app may have given up floats by an upgrade.
        if not materializer.upgrades and self._has_forbidden_float(record.payload):
            return Outcome(State.REJECTED, "it holds a float, which the app is not declared with", None)
        try:
            event = read_event(materializer, record, is_float_allowed=self._program.is_float_allowed)
        except Rejection as rejection:
            _log.warning("a %s was rejected: %s", record.name, rejection.reason, exc_info=rejection.__cause__)
            return Outcome(State.REJECTED, rejection.reason, None)
        try:
            return Outcome(State.APPLIED, None, self._view.apply(materializer, event, at, record.wall_ms))
        except Rejection as rejection:
            return Outcome(State.REJECTED, rejection.reason, None)

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


_Step = tuple[Timestamp, Record, Entry | None]


def _in_order(logged: Iterable[Entry], arrived: Iterable[Arrival]) -> Iterator[_Step]:
    """Merge the log with what arrived; an arrival that is in the log already (held until now) is given once."""
    steps_logged = ((entry.timestamp, entry.record, entry) for entry in logged)
    steps_arrived = ((arrival.timestamp, arrival.record, None) for arrival in arrived)
    last: Timestamp | None = None
    # `merge` keeps the log's side first among equals.
    for step in merge_sorted(steps_logged, steps_arrived, key=itemgetter(0)):
        if step[0] != last:
            last = step[0]
            yield step
