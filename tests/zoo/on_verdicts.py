"""Mistakes in what is said of events: unknown, rejected, undone, settled."""

from collections.abc import Iterable
from typing import Any

import pytest

from driftlog._core.clock import Timestamp
from driftlog._core.event import Record
from driftlog._core.retraction import UNDONE, named_by
from driftlog._store import judging
from driftlog._store.fold import Arrival, Fold, Integrated
from driftlog._store.judging import Judge
from driftlog._store.log import BEFORE_ALL, REJECTED, STATE, STATES, Outcome, Row, State
from driftlog._store.program import Rejection
from driftlog._store.reading import read_event as read_event_of_fold
from driftlog._store.results import Results
from driftlog._store.settled import horizon as horizon_of_survey
from driftlog._store.store import Store
from driftlog._store.view import Guard
from driftlog.errors import DriftlogError
from driftlog.space import survey
from tests.zoo.mistakes import Zoo

ZOO = Zoo()


def _drop_if_new(patch: pytest.MonkeyPatch, state: State) -> None:
    """Log no event that comes out in this state the first time it is applied."""
    real = Results.add

    def add(self: Results, row: Row, outcome: Outcome) -> None:
        if STATES[outcome[0]] is not state or row[STATE] is not None:
            real(self, row, outcome)

    patch.setattr(Results, "add", add)


@ZOO.within(5)
def an_event_of_an_unknown_type_is_dropped(patch: pytest.MonkeyPatch) -> None:
    """What an older app does not know is skipped, and the device lacks it for ever after the upgrade."""
    _drop_if_new(patch, State.UNKNOWN)


@ZOO.within(5)
def an_upgrade_does_not_look_at_what_was_unknown(patch: pytest.MonkeyPatch) -> None:
    """The new version shows everything but what it was updated for."""

    def rebuild(self: Store, *_: Any) -> int:
        self.meta.set("view", self._program.fingerprint)
        return 0

    patch.setattr(Store, "rebuild", rebuild)


@ZOO.within(5)
def what_was_unknown_is_applied_after_the_upgrade_and_not_in_its_place(patch: pytest.MonkeyPatch) -> None:
    """Devices that were updated at different times show different tables."""

    def rebuild(self: Store, *_: Any) -> int:
        unknown = [entry for entry in self.log.entries(BEFORE_ALL) if entry.state is State.UNKNOWN]
        for entry in unknown:
            outcome = self._fold._judge.outcome(entry.timestamp, entry.record, Guard.SAVEPOINT)
            self.log.update_all([(*outcome, *entry.timestamp)])
        self.meta.set("view", self._program.fingerprint)
        return len(unknown)

    patch.setattr(Store, "rebuild", rebuild)


@ZOO.within(5)
def what_was_rejected_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A precondition that a late event fulfils is then never looked at again."""
    _drop_if_new(patch, State.REJECTED)


@ZOO.within(30)
def what_was_rejected_is_not_judged_again(patch: pytest.MonkeyPatch) -> None:
    """Convergence without correctness: the verdict depends on what had arrived by then."""
    real = Judge.outcome

    def outcome(self: Judge, at: Any, record: Any, guard: Any) -> Outcome:
        found = real(self, at, record, guard)
        return (*found[:2], None, None) if found[0] == REJECTED else found

    patch.setattr(Judge, "outcome", outcome)


@ZOO.within(12)
def a_poison_event_stops_whoever_meets_it(patch: pytest.MonkeyPatch) -> None:
    """One bad event stopped every client of a sync engine until a release."""
    real = read_event_of_fold

    def read_event(*arguments: Any, **options: Any) -> Any:
        try:
            return real(*arguments, **options)
        except Rejection as rejection:
            raise DriftlogError(rejection.reason) from rejection

    patch.setattr(judging, "read_event", read_event)


@ZOO.within(12)
def an_undo_of_what_has_not_arrived_is_dropped(patch: pytest.MonkeyPatch) -> None:
    """A tombstone that overtakes its row is thrown away, and the row comes back from the dead."""
    real = Fold.integrate

    def integrate(self: Fold, arrived: list[Arrival], last: Any) -> Integrated:
        there = {arrival.timestamp for arrival in arrived}
        kept = [
            arrival
            for arrival in arrived
            if all(at in there or self._log.find(at) for at in named_by(arrival.record) or ())
        ]
        return real(self, kept, last)

    patch.setattr(Fold, "integrate", integrate)


@ZOO.within(20)
def an_undo_that_is_said_twice_undoes_itself(patch: pytest.MonkeyPatch) -> None:
    """A toggle in place of a statement: two devices that undo the same have done nothing."""

    def retracted_by(controls: Iterable[tuple[Timestamp, Record]]) -> frozenset[Timestamp]:
        retracted: set[Timestamp] = set()
        for at, record in sorted(controls):
            retracted ^= {event for event in named_by(record) or () if event < at}
        return frozenset(retracted)

    patch.setattr(judging, "retracted_by", retracted_by)


@ZOO.within(5)
def a_redo_of_one_device_is_overtaken_by_an_older_undo(patch: pytest.MonkeyPatch) -> None:
    """The last to arrive decides, in place of the last in the order."""

    def retracted_by(controls: Iterable[tuple[Timestamp, Record]]) -> frozenset[Timestamp]:
        retracted: set[Timestamp] = set()
        for at, record in controls:
            for event in named_by(record) or ():
                if event < at:
                    (retracted.add if record.name == UNDONE else retracted.discard)(event)
        return frozenset(retracted)

    patch.setattr(judging, "retracted_by", retracted_by)


@ZOO.within(5)
def settled_is_as_far_as_the_most_advanced_device(patch: pytest.MonkeyPatch) -> None:
    """`max` where `min` was meant: what hangs on it is done before a late event takes its place."""
    real = horizon_of_survey

    def horizon(connection: Any, own: Any) -> Any:
        found = real(connection, own)
        return found._replace(hlc=max(found.hlc, *found.heard_by_device.values()))

    patch.setattr(survey, "horizon", horizon)
