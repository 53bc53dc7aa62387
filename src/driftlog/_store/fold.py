"""The fold: how events take their place in the log and change the view, each of them once.

What arrives in one batch costs one rebase. Arrivals are woven in where they belong: each is applied to the view as it
stands, and if what it touched was touched later, those later events are undone with all that depends on them, and follow it
again. Where too many would be undone, all of them are: the view is taken back to the first arrival, or emptied, and the log
from there on is replayed merged with what arrived.
"""

from collections.abc import Callable, Iterable
from functools import cache
from heapq import heapify, heappop, heappush
from typing import NamedTuple

import apsw

from driftlog._core.clock import Timestamp
from driftlog._core.event import Event, Record
from driftlog._core.merge import Extend, Way, Weave, before_a_rewind_min, plan_rebase, undone_one_by_one_max
from driftlog._core.places import Place
from driftlog._core.retraction import named_by
from driftlog._core.touch import TouchIndex
from driftlog._store.judging import Judge
from driftlog._store.log import APPLIED, BEFORE_ALL, HELD, PAGE_ROWS, STATE, TOUCH, UNDO, Log, Outcome, Row
from driftlog._store.program import Program
from driftlog._store.results import Results, Verdict, pages_with, place_and_record, place_of
from driftlog._store.tail import Tail
from driftlog._store.view import Guard, Unreadable, View
from driftlog.errors import InvalidEvent


class Arrival(NamedTuple):
    """An event that joins the order."""

    timestamp: Timestamp
    record: Record
    is_held: bool = False
    """Whether it lies in the log already, held until now."""

    def row(self) -> Row:
        """Give it as a row of the log; without an outcome, if it is not in it yet."""
        return (*self.timestamp, *self.record[1:], HELD if self.is_held else None, None, None, None)


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
"""Told how many events have been replayed, after each full page of the log."""


class Fold:
    """Applies events to one view and records the outcome in one log, within the caller's transaction."""

    def __init__(self, connection: apsw.Connection, log: Log, view: View, program: Program) -> None:
        self._control = connection.cursor().execute
        self._log = log
        self._view = view
        self._judge = Judge(log, view, program)
        self.tail = Tail(log, view)

    def apply_new(self, event: Event, at: Timestamp, record: Record) -> Row:
        """Apply a new event of this device, and give its row for the log.

        A `Rejection` leaves it to the caller to undo what was begun.
        """
        undo, touch = self._judge.apply_new(event, at, record)
        return (*at, *record[1:], APPLIED, None, undo, touch)

    def log_new(self, rows: list[Row]) -> None:
        """Log what `apply_new` gave, in order."""
        self._log.insert_all(rows)
        self.tail.add((row[:3], row[UNDO], row[TOUCH]) for row in rows)

    def integrate(self, arrived: list[Arrival], last: Timestamp | None) -> Integrated:
        """Take in events that are neither void nor still held; `last` is the greatest timestamp placed so far.

        `arrived` may hold events whose time has come: those are in the log already, as held.
        """
        if not arrived:
            return Integrated(0, 0, None)
        revised = self._revised_by(arrived)
        places = [arrival.timestamp for arrival in arrived] + [place_of(row) for row in revised]
        match plan_rebase(last, places):
            case Extend():
                return self._replay(min(arrived).timestamp, arrived, Way.EXTENDED)
            case Weave(start):
                return self._weave(start, arrived, revised) or self._replay_from(start, arrived)

    def retracted(self) -> frozenset[Timestamp]:
        """Give the events that are undone."""
        return self._judge.retracted()

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

    def _revised_by(self, arrived: list[Arrival]) -> list[Row]:
        """Take note of the undos and redos among arrivals, and give the placed events that are to be judged anew."""
        changed = self._judge.take_note([arrival[:2] for arrival in arrived])
        if not changed:
            return []
        arriving = {arrival.timestamp for arrival in arrived}
        return [row for row in self._log.rows_at(sorted(changed - arriving)) if row[STATE] != HELD]

    def commit(self) -> None:
        """Take note that what was changed in the log stays."""
        self.tail.commit()

    def roll_back(self) -> None:
        """Take note that the log is as it was when the transaction, or the part of it, began."""
        self.tail.roll_back()
        self._judge.forget()

    def forget(self) -> None:
        """Forget what is remembered of the log: another process has written."""
        self.tail.forget()
        self._judge.forget()

    def rebuild(self, progress: Progress | None = None) -> Integrated:
        """Make the view anew from the whole log."""
        # Where the view was not the fold of the log, its events now touch other cells than before.
        self.tail.forget()
        self._view.drop()
        self._view.create()
        return self._replay(BEFORE_ALL, [], Way.REBUILT, progress)

    # --- undoing what depends on it -----------------------------------------------------------------------------------

    def _weave(self, start: Timestamp, arrived: list[Arrival], revised: list[Row]) -> Integrated | None:
        """Apply arrivals among the events from `start` on, and events anew whose retraction they changed.

        None, with nothing changed, if too many would be undone.
        """
        index = self.tail.covering(start)
        if index is None:
            return None
        if len(arrived) == 1 and not revised:
            alone = self._apply_alone(index, arrived[0])
            if alone is not None:
                return alone

        @cache
        def undone_max() -> int:
            # Counted once, before anything is undone, and not at all where nothing has to be.
            return undone_one_by_one_max(index.count_after(start))

        depending = (
            index.closure([at for row in revised if (at := row[:3]) in index], undone_max()) if revised else set()
        )
        if depending is None:
            return None
        self._control("SAVEPOINT driftlog_weave")
        undone = {*depending, *(row[:3] for row in revised)}
        due: list[Row] = [arrival.row() for arrival in arrived]
        due += [row for row in revised if row[:3] not in depending]
        due += self._undo(index, depending)
        heapify(due)
        results = Results(self._log)
        with self._view.run_of_events():
            while due:
                # In order: whatever is applied now, nothing before it will be undone any more.
                row = heappop(due)
                try:
                    outcome, conflicting = self._apply_among(index, row, Guard.IMAGES)
                except Unreadable:
                    self._abandon_weave(is_index_changed=True)
                    return None
                if not conflicting:
                    results.add(row, outcome)
                    continue
                depending = index.closure(conflicting, undone_max() - len(undone))
                if depending is None:
                    self._abandon_weave(is_index_changed=bool(undone or results.applied))
                    return None
                undone |= depending
                # It goes first, and they follow.
                for again in (row, *self._undo(index, depending)):
                    heappush(due, again)
        results.write_down()
        self._control("RELEASE driftlog_weave")
        way = Way.CLOSURE if undone else Way.IN_PLACE
        return Integrated(results.applied, len(undone), way, tuple(results.verdicts))

    def _apply_alone(self, index: TouchIndex, arrival: Arrival) -> Integrated | None:
        """Apply an event that arrives alone among later ones; None, with nothing changed, if it meets one of them."""
        row = arrival.row()
        outcome, conflicting = self._apply_among(index, row, Guard.SAVEPOINT)
        if conflicting:
            return None
        results = Results(self._log)
        results.add(row, outcome)
        results.write_down()
        return Integrated(1, 0, Way.IN_PLACE, tuple(results.verdicts))

    def _apply_among(self, index: TouchIndex, row: Row, guard: Guard) -> tuple[Outcome, set[Place]]:
        """Apply an event among later ones, and say what became of it and which of these it met.

        If it met any, what it did means nothing yet, and is taken back.
        """
        outcome = self._judge.outcome(*place_and_record(row), guard)
        _, _, undo, touch = outcome
        at, touched = row[:3], self._view.touch(undo, touch)
        conflicting = index.conflicting(at, touched)
        if not conflicting:
            index.add(at, touched)
        elif undo is not None:
            self._view.rewind([undo])
        return outcome, conflicting

    def _abandon_weave(self, *, is_index_changed: bool) -> None:
        self._control("ROLLBACK TO driftlog_weave")
        self._control("RELEASE driftlog_weave")
        if is_index_changed:
            self.tail.forget()

    def _undo(self, index: TouchIndex, events: set[Place]) -> list[Row]:
        """Take events back that nothing else depends on, and give their rows."""
        if not events:
            return []
        rows = self._log.rows_at(sorted(events))
        for row in rows:
            index.remove(row[:3])
        self._view.rewind([row[UNDO] for row in rows if row[UNDO] is not None])
        return rows

    # --- undoing all ----------------------------------------------------------------------------------------------------

    def _replay_from(self, start: Timestamp, arrived: list[Arrival]) -> Integrated:
        if not self._log.has_before(start, before_a_rewind_min(self._log.count_from(start))):
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
        results = Results(self._log)
        # Those that were held lie in the log, and are met there.
        due = {arrival.timestamp for arrival in arrived if arrival.is_held}
        joining = sorted([arrival.row() for arrival in arrived if not arrival.is_held])
        replayed = 0
        judge = self._judge.outcome
        for rows in pages_with(self._log.pages(start), joining):
            with self._view.run_of_events():
                for row in rows:
                    at, record = place_and_record(row)
                    before = row[STATE]
                    if before == HELD:
                        if at not in due:
                            continue
                    elif before is not None:
                        replayed += 1
                    results.add(row, judge(at, record, guard))
            self.tail.note(results.touches())
            results.write_down()
            if progress is not None and len(rows) >= PAGE_ROWS:
                progress(results.applied)
        return Integrated(results.applied, replayed, way, tuple(results.verdicts))
