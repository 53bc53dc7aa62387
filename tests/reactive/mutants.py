"""Deliberate mistakes in live queries, one at a time: each must be found by the histories or by sorting anew.

A rule that could be broken without any case noticing is a rule that the cases do not test; a new rule belongs here.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import apsw
import pytest

from driftlog._core.changes import RowChange
from driftlog._reactive import index, keeping, plan, reads, select, tally
from driftlog._reactive.given import Given
from driftlog._reactive.keeping import Kept
from driftlog._reactive.reads import PYTHON_TYPES, TableReads
from driftlog._reactive.tally import Tally
from driftlog._sqlite import footprint
from driftlog._sqlite.sqltext import Kind, Token
from driftlog._store.watch import Watch
from driftlog.space import lines, live
from driftlog.space.engine import Engine
from driftlog.space.lines import Line
from driftlog.space.standing import CatchUp, Standing
from tests.mutation import Mutants

MUTANTS = Mutants()
mutant = MUTANTS.add

# `Any` stands for the arguments of the functions that are replaced, which are passed on as they come.


# --- which queries a change concerns ------------------------------------------------------------------------------------


def _looking_at(patch: pytest.MonkeyPatch, seen: Callable[[RowChange], RowChange]) -> None:
    real = index._look
    patch.setattr(index, "_look", lambda table, rows, found: real(table, [seen(row) for row in rows], found))


@mutant
def what_a_row_was_does_not_count(patch: pytest.MonkeyPatch) -> None:
    _looking_at(patch, lambda row: row if row.new is None else row._replace(old=None))


@mutant
def what_a_row_becomes_does_not_count(patch: pytest.MonkeyPatch) -> None:
    _looking_at(patch, lambda row: row if row.old is None else row._replace(new=None))


@mutant
def a_row_must_meet_the_conditions_before_and_after(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        TableReads,
        "sees",
        lambda self, row: any(
            all(reads._meets(image, one) for image in (row.old, row.new) if image is not None)
            for one in self.conditions
        ),
    )


@mutant
def an_index_in_use_does_not_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(footprint, "_indexed", lambda *_: set())


@mutant
def the_one_or_the_other_means_both(patch: pytest.MonkeyPatch) -> None:
    real = select._terms

    def both(token: Token) -> Token:
        return Token(Kind.WORD, "AND", token.start, token.end) if token.word == "OR" else token

    patch.setattr(select, "_terms", lambda condition: real([both(token) for token in condition]))


@mutant
def the_condition_of_an_outer_join_holds_of_every_row(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(select, "_OUTER", frozenset())


@mutant
def joins_by_name_read_only_what_is_named(patch: pytest.MonkeyPatch) -> None:
    real = footprint.footprint_of
    patch.setattr(live, "footprint_of", lambda *given, **_: real(*given, joins_by_name=False))


@mutant
def a_compound_and_a_case_say_what_their_conditions_say(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(select, "_UNKNOWN", frozenset())


@mutant
def text_is_compared_letter_by_letter(patch: pytest.MonkeyPatch) -> None:
    for module in (reads, plan):
        patch.setattr(module, "exact_type", lambda shape, column: PYTHON_TYPES.get(shape.types[column]))


@mutant
def a_rebuild_says_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Watch, "note_everything", lambda _self: None)


# --- how an answer is kept ----------------------------------------------------------------------------------------------


@mutant
def rows_that_tie_may_stand_either_way(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(keeping, "pairwise", lambda _: ())


@mutant
def a_row_that_comes_to_tie_may_stand_either_way(patch: pytest.MonkeyPatch) -> None:
    def put(self: Kept, rows: list[Any], new: Any) -> dict[Any, int]:
        places: dict[Any, int] = {}
        for key, row in sorted(new.items(), key=lambda item: self._sort_key(item[1])):
            places[key] = self._find(rows, row)
            rows.insert(places[key], row)
        return places

    patch.setattr(Kept, "_put", put)


@mutant
def a_window_shows_all_there_is(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Kept, "_is_full", lambda _self: False)


@mutant
def a_window_grows(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Kept, "_trim", lambda *_: None)


@mutant
def descending_is_ascending(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(keeping, "_Descending", lambda value: value)


@mutant
def nothing_comes_after_everything(patch: pytest.MonkeyPatch) -> None:
    def last(of: Any, row: Any) -> tuple[Any, ...]:
        keys = [(row[place] is None, row[place]) for place, _ in of.order]
        return tuple(
            keeping._Descending(key) if is_descending else key
            for key, (_, is_descending) in zip(keys, of.order, strict=True)
        )

    patch.setattr(keeping, "sort_key", last)


@mutant
def an_aggregate_looks_at_one_row(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(plan, "ROW_BY_ROW", plan.ROW_BY_ROW | {"max", "count", "sum"})


@mutant
def what_an_answer_calls_its_columns_does_not_matter(patch: pytest.MonkeyPatch) -> None:
    real = plan._Shown.__init__

    def shown(self: Any, *given: Any) -> None:
        real(self, *given)
        self._names = [""] * len(self._names)

    patch.setattr(plan._Shown, "__init__", shown)


@mutant
def rows_come_in_the_order_of_the_table_whatever_is_looked_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(footprint, "_is_scan", lambda *_: True)


@mutant
def a_table_is_ordered_upwards(patch: pytest.MonkeyPatch) -> None:
    real = footprint._shape

    def shape(*given: Any, **named: Any) -> footprint.Shape:
        found = real(*given, **named)
        return replace(found, tree=tuple((column, False) for column, _ in found.tree))

    patch.setattr(footprint, "_shape", shape)


@mutant
def an_offset_is_nothing(patch: pytest.MonkeyPatch) -> None:
    real = Given.value
    patch.setattr(Given, "value", lambda self, tokens: real(self, tokens[:1]))


@mutant
def the_key_is_one_more_condition_of_the_last_alternative(patch: pytest.MonkeyPatch) -> None:
    real = plan.by_key

    def by_key(*given: Any) -> Any:
        found = real(*given)
        return found and (found[0].replace("WHERE (", "WHERE ", 1).replace(") AND", " AND", 1), *found[1:])

    for module in (plan, tally):
        patch.setattr(module, "by_key", by_key)


def _following(patch: pytest.MonkeyPatch, rows_seen: Callable[[Sequence[RowChange]], Sequence[RowChange]]) -> None:
    real = lines._follow
    patch.setattr(lines, "_follow", lambda at, one, rows: real(at, one, rows if rows is None else rows_seen(rows)))


@mutant
def a_row_has_only_the_key_that_it_got(patch: pytest.MonkeyPatch) -> None:
    _following(patch, lambda rows: [row if row.new is None else row._replace(old=None) for row in rows])


@mutant
def only_the_last_changed_row_is_looked_up(patch: pytest.MonkeyPatch) -> None:
    _following(patch, lambda rows: rows[-1:])


@mutant
def a_later_change_takes_the_place_of_an_earlier_one(patch: pytest.MonkeyPatch) -> None:
    real = Line.mark

    def mark(self: Line, watched: Any, rows: Any) -> None:
        self._due.pop(watched, None)
        real(self, watched, rows)

    patch.setattr(Line, "mark", mark)


@mutant
def a_block_of_rows_counts_as_one(patch: pytest.MonkeyPatch) -> None:
    real = keeping._heaviest_ascending
    patch.setattr(keeping, "_heaviest_ascending", lambda runs: real([(old, new, 1) for old, new, _ in runs]))


@mutant
def what_changed_has_not_moved(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(keeping, "_moved", lambda *_: [])


@mutant
def a_row_was_counted_as_it_is(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tally, "before", lambda self, rows: {self.key_in(row.new or row.old): row.new for row in rows})


@mutant
def a_row_was_as_it_was_last(patch: pytest.MonkeyPatch) -> None:
    real = Tally.before
    patch.setattr(Tally, "before", lambda self, rows: real(self, rows[::-1]))


@mutant
def a_row_that_got_a_key_had_it_before(patch: pytest.MonkeyPatch) -> None:
    def before(self: Tally, rows: Sequence[RowChange]) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for row in rows:
            for image in (row.old, row.new):
                if image is not None:
                    found.setdefault(self.key_in(image), row.old)
        return found

    patch.setattr(Tally, "before", before)


@mutant
def values_have_no_types(patch: pytest.MonkeyPatch) -> None:
    real = tally.tally_of

    def tally_of(*given: Any) -> Tally | None:
        made = real(*given)
        return made and replace(made, before_sql=re.sub(r"CAST\(\? AS \w+\)", "?", made.before_sql))

    patch.setattr(live, "tally_of", tally_of)


@mutant
def a_count_of_rows_that_compare_otherwise_is_kept_too(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tally, "exact_type", lambda *_: str)


def _tallying(patch: pytest.MonkeyPatch, change: Callable[..., Any]) -> None:
    patch.setattr(lines, "tallied", partial(change, tally.tallied))


@mutant
def a_sum_of_nothing_is_zero(patch: pytest.MonkeyPatch) -> None:
    def summed(real: Any, kinds: Any, *given: Any) -> Any:
        found = real(kinds, *given)
        return found and tuple(
            [0 if kind == "sum" and one is None else one for kind, one in zip(kinds, found, strict=True)]
        )

    _tallying(patch, summed)


@mutant
def a_least_or_greatest_value_that_goes_is_missed_by_nobody(patch: pytest.MonkeyPatch) -> None:
    _tallying(patch, lambda real, kinds, values, *given: real(kinds, values, *given) or tuple(values))


@mutant
def a_value_that_goes_was_not_the_greatest(patch: pytest.MonkeyPatch) -> None:
    def kept(real: Any, kinds: Any, values: Any, sums: Any, gone: Any, come: Any) -> Any:
        without = [
            [None if kind in ("min", "max") else one for kind, one in zip(kinds, row, strict=True)] for row in gone
        ]
        return real(kinds, values, sums, without, come)

    _tallying(patch, kept)


@mutant
def sums_do_not_overflow_on_the_way(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(tally, "SUM_MAX", 1 << 80)


@mutant
def a_sum_is_of_whatever_there_was_before_it_was_asked_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lines, "Sum", lambda _count, distance: tally.Sum(1, distance))


# --- which state an answer is of ----------------------------------------------------------------------------------------


@mutant
def what_is_not_told_yet_is_in_no_state(patch: pytest.MonkeyPatch) -> None:
    def catch_up(self: live.Live) -> int | None:
        marking, self._mark = self._mark, lambda: None  # type: ignore[method-assign]  # a mistake
        try:
            return real(self)
        finally:
            self._mark = marking  # type: ignore[method-assign]  # and its end

    real = live.Live.catch_up
    patch.setattr(live.Live, "catch_up", catch_up)


@mutant
def nobody_else_writes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Engine, "_foreign_version", lambda _self: 1)


@mutant
def whoever_writes_has_nothing_to_say(patch: pytest.MonkeyPatch) -> None:
    real = Standing.here

    @contextmanager
    def here(self: Standing, catch_up: CatchUp) -> Iterator[apsw.Connection]:
        with real(self, catch_up) as connection:
            self.generation = self.generation or 1
            yield connection

    patch.setattr(Standing, "here", here)
