"""Mistakes in live queries: which change concerns whom, and what is told when others write or the machine fails.

All processes have subscribers here, where otherwise few do.
"""

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import pytest

from driftlog._reactive import index
from driftlog._reactive.tally import Tally
from driftlog._store.watch import Watch
from driftlog.space.engine import Engine
from driftlog.space.lines import Line
from driftlog.space.live import Live
from driftlog.testing.simulation import subscribers
from tests.mutation import Mutation
from tests.zoo.mistakes import Trial, Zoo, seeds, seeds_of_disks

ZOO = Zoo()
HEALED = Zoo()


def _where_all_subscribe(make: Mutation) -> Mutation:
    @wraps(make)
    def make_it(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(subscribers, "SHARE", 1.0)
        make(patch)

    return make_it


def within(trials_max: int, trials: Callable[[], Iterator[Trial]] = seeds) -> Callable[[Mutation], Mutation]:
    """Register a mistake of live queries."""
    return lambda make: ZOO.within(trials_max, trials)(_where_all_subscribe(make))


def healed(make: Mutation) -> Mutation:
    """Register one that is healed: after an I/O error the file is opened anew, and then everything is due."""
    return HEALED.within(40, seeds_of_disks)(_where_all_subscribe(make))


@within(20)
def a_row_that_leaves_an_answer_is_still_shown(patch: pytest.MonkeyPatch) -> None:
    """Queries are found by what a changed row is now: whoever showed it as it was is told nothing."""
    real = index._look

    def look(table: Any, rows: Any, found: Any) -> None:
        real(table, [row if row.new is None else row._replace(old=None) for row in rows], found)

    patch.setattr(index, "_look", look)


@within(20)
def a_count_goes_up_and_never_down(patch: pytest.MonkeyPatch) -> None:
    """What a changed row contributed before is not taken off: badges that count more and more unread messages."""
    patch.setattr(Tally, "before", lambda self, rows: {self.key_in(row.new or row.old): row.new for row in rows})


@within(20)
def what_comes_from_others_is_shown_with_the_next_own_change(patch: pytest.MonkeyPatch) -> None:
    """The screen follows its own user, and shows the others' work after a reload."""
    real = Engine._take_step

    def take_step(self: Engine, *given: Any, **named: Any) -> Any:
        deliver, self.live.deliver = self.live.deliver, lambda: None  # type: ignore[method-assign]  # a mistake
        try:
            return real(self, *given, **named)
        finally:
            self.live.deliver = deliver  # type: ignore[method-assign]  # and its end

    patch.setattr(Engine, "_take_step", take_step)


@within(20)
def what_another_process_writes_is_not_shown(patch: pytest.MonkeyPatch) -> None:
    """SQLite's own hooks tell of this connection's changes only; the second window of an app stays as it was."""
    patch.setattr(Watch, "note_others", lambda _self: None)


@within(20)
def of_two_changes_before_an_answer_one_counts(patch: pytest.MonkeyPatch) -> None:
    """What a query is due by is overwritten by the next change: an append of several events shows the last."""
    real = Line.mark

    def mark(self: Line, watched: Any, rows: Any) -> None:
        real(self, watched, rows if rows is None else rows[-1:])

    patch.setattr(Line, "mark", mark)


@within(20)
def an_answer_that_is_the_same_is_told(patch: pytest.MonkeyPatch) -> None:
    """Every subscriber of a table is called for every write to it."""
    real = Line._tell

    def tell(self: Line, connection: Any, watched: Any, before: Any, found: Any) -> None:
        for subscription in watched.subscriptions:
            subscription._rows = None if subscription._rows == watched.rows else subscription._rows
        real(self, connection, watched, before, found)

    patch.setattr(Line, "_tell", tell)


@within(10, seeds_of_disks)
def the_file_is_opened_anew_and_the_old_connection_watched(patch: pytest.MonkeyPatch) -> None:
    """After an I/O error writing goes on through a new connection, whose changes no hook sees."""
    patch.setattr(Watch, "move_to", lambda _self, _connection: None)


@healed
def after_a_failure_what_was_due_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The disk failed as the query was run; the answer is old until one of its rows changes again."""
    real = Line.run

    def run(self: Line) -> None:
        failed: list[bool] = []
        within = self._run_within

        def run_within(run: Any) -> None:
            try:
                within(run)
            except BaseException:
                failed.append(True)
                raise

        self._run_within = run_within
        try:
            real(self)
        finally:
            self._run_within = within
            if failed:
                self._due.clear()

    patch.setattr(Line, "run", run)


@healed
def answers_are_read_through_the_connection_that_failed(patch: pytest.MonkeyPatch) -> None:
    """It may show what a failed sync has left in memory, and holds the WAL that was given up."""
    patch.setattr(Live, "doubt", lambda _self: None)
