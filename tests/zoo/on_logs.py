"""Mistakes in how a device keeps its log: clocks, order, identity, what is held, unknown, rejected or undone."""

from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import pytest

from driftlog._core import clock
from driftlog._core.clock import Timestamp
from driftlog._core.merge import Extend, Weave, plan_rebase
from driftlog._store import fold as fold_module
from driftlog._store import intake
from driftlog._store import store as store_module
from driftlog._store.chain import Chains
from driftlog._store.fold import Arrival, Fold
from driftlog._store.log import BEFORE_ALL, UNDO, Log, Row
from driftlog._store.meta import Branch, Meta
from driftlog._store.results import Results
from driftlog._store.store import Store
from tests.zoo.mistakes import Zoo

ZOO = Zoo()

# --- clocks ----------------------------------------------------------------------------------------------------------


@ZOO.within(5)
def the_clock_is_not_advanced_by_what_is_received(patch: pytest.MonkeyPatch) -> None:
    """A reply is then sorted before what it replies to, as in every system that sorts by wall clocks."""
    real = Store._integrate

    def integrate(self: Store, arrived: Any) -> Any:
        before = self._last
        found = real(self, arrived)
        self._last = before
        return found

    patch.setattr(Store, "_integrate", integrate)


@ZOO.within(5)
def a_stamp_is_what_the_clock_shows(patch: pytest.MonkeyPatch) -> None:
    """A laptop whose clock is set back gives the same stamps again, and its later edits lose against its earlier ones."""
    patch.setattr(store_module, "tick", lambda _, now_ms: clock.Hlc(max(0, now_ms) << 16))


@ZOO.within(20)
def a_stamp_from_the_far_future_is_taken_at_its_word(patch: pytest.MonkeyPatch) -> None:
    """One phone that believes in 2037 then drags the clocks of all others there, for good."""
    patch.setattr(intake, "is_held", lambda *_: False)


@ZOO.within(12)
def what_is_held_is_held_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Edits of a device whose clock was ahead never show elsewhere: the main complaint about a five-minute rule."""
    patch.setattr(Store, "_release_held", lambda *_: None)


@ZOO.within(25)
def what_was_held_is_applied_last_and_not_in_its_place(patch: pytest.MonkeyPatch) -> None:
    """Who held it and who did not then show different tables."""

    def release(self: Store) -> None:
        due = self.log.held_up_to(clock.last_not_held(self._clock()))
        if due:
            arrivals = [Arrival(entry.timestamp, entry.record, is_held=True) for entry in due]
            for arrival in arrivals:
                self._fold.integrate([arrival], None)
            self._last = max(self._last or BEFORE_ALL, arrivals[-1].timestamp)
        self._first_held = self.log.first_held()

    patch.setattr(Store, "_release_held", release)


# --- order -----------------------------------------------------------------------------------------------------------


@ZOO.within(5)
def a_tie_of_stamps_is_broken_by_arrival(patch: pytest.MonkeyPatch) -> None:
    """Last writer wins on equal milliseconds: each device keeps what reached it last."""

    def plan(last: Timestamp | None, arrived: Sequence[Timestamp]) -> Extend | Weave:
        if last is not None and min(arrived).hlc == last.hlc:
            return Extend()
        return plan_rebase(last, arrived)

    patch.setattr(fold_module, "plan_rebase", plan)


@ZOO.within(5)
def a_late_event_is_applied_last(patch: pytest.MonkeyPatch) -> None:
    """The order of arrival is the order of the tables, and no two devices have the same."""
    patch.setattr(fold_module, "plan_rebase", lambda *_: Extend())


@ZOO.within(5)
def the_log_is_read_without_an_order(patch: pytest.MonkeyPatch) -> None:
    """A SELECT without ORDER BY gives rows in order for years, until a plan changes."""
    real = Log.pages

    def pages(self: Log, *arguments: Any) -> Iterable[list[Row]]:
        return (sorted(page, key=lambda row: row[2]) for page in real(self, *arguments))

    patch.setattr(Log, "pages", pages)


@ZOO.within(5)
def undo_data_of_received_events_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    """Trimmed too early: what is then rewound stays as it was."""
    real = Results.write_down

    def write_down(self: Results) -> None:
        self._inserted = [(*row[:UNDO], None, row[-1]) for row in self._inserted]
        real(self)

    patch.setattr(Results, "write_down", write_down)


# --- identity ----------------------------------------------------------------------------------------------------------


@ZOO.within(45)
def an_event_that_is_there_already_is_not_recognised(patch: pytest.MonkeyPatch) -> None:
    """At-least-once delivery without a key of its own: the most common cause of doubled rows."""
    patch.setattr(Log, "holds_any", lambda *_: False)


@ZOO.within(5)
def an_event_dated_back_behind_its_author_counts(patch: pytest.MonkeyPatch) -> None:
    """Whoever dates back rewrites what others have long settled."""
    patch.setattr(Chains, "predecessor", _predecessor_without_stamp)


_real_predecessor = Chains.predecessor


def _predecessor_without_stamp(self: Chains, envelope: Any) -> int | None:
    return None if _real_predecessor(self, envelope) is None else 0


@ZOO.within(5)
def an_envelope_is_taken_in_without_the_one_before(patch: pytest.MonkeyPatch) -> None:
    """Its head then says that all before it is here, and nobody ever sends that."""
    patch.setattr(Chains, "predecessor", lambda self, envelope: _real_predecessor(self, envelope) or 0)


@ZOO.within(12)
def what_waited_for_an_envelope_waits_for_ever(patch: pytest.MonkeyPatch) -> None:
    """Messages that overtake each other are then lost to the one that came too early."""
    patch.setattr(Chains, "waiting_after", lambda *_: [])


@ZOO.within(5)
def the_end_of_the_own_chain_is_not_saved(patch: pytest.MonkeyPatch) -> None:
    """A number is given twice after a restart: the counter was in memory, and the file knew an older one."""
    real = Meta.set_own_branch
    remembered: WeakKeyDictionary[Meta, Branch] = WeakKeyDictionary()

    def set_own_branch(self: Meta, branch: Branch) -> None:
        remembered[self] = branch
        if branch.head is None or branch.head.batch_seq % 2:
            real(self, branch)

    real_get = Meta.own_branch

    def own_branch(self: Meta) -> Branch:
        return remembered.get(self) or real_get(self)

    patch.setattr(Meta, "set_own_branch", set_own_branch)
    patch.setattr(Meta, "own_branch", own_branch)


@ZOO.within(5)
def the_other_branch_of_a_fork_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """ "Affected devices see different data yet think they are synced" is how a bug of this kind was reported."""
    real = Chains.version_vector

    def version_vector(self: Chains) -> Any:
        found = real(self)
        return type(found)({device: heads[-1:] for device, heads in found.items()})

    patch.setattr(Chains, "version_vector", version_vector)


# --- two processes -----------------------------------------------------------------------------------------------------


@ZOO.within(12)
def the_commit_of_another_process_goes_unnoticed(patch: pytest.MonkeyPatch) -> None:
    """apsw's own `data_version()` does not look at the file; whoever trusts it overlooks the other process."""
    real = Store._refresh

    def refresh(self: Store, *, may_fold: bool) -> None:
        if self._data_version != -1:
            self._data_version = self.connection.data_version()
        real(self, may_fold=may_fold)

    patch.setattr(Store, "_refresh", refresh)


@ZOO.within(12)
def what_is_remembered_of_the_log_outlives_the_commit_of_another_process(patch: pytest.MonkeyPatch) -> None:
    """A cache that only its own writer keeps up to date."""
    patch.setattr(Fold, "forget", lambda *_: None)
