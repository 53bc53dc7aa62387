"""Deliberate mistakes in the rules by which a late event is woven in, one at a time: each must be found by the cases.

A rule that could be broken without any case noticing is a rule that the cases do not test. `test_mutants.py` breaks each of
these in turn; a new rule belongs here.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from driftlog._core.touch import Touch, TouchIndex
from driftlog._sqlite.cells import Constraints
from driftlog._store.access import Access, RowOf, _Reader
from driftlog._store.fold import Fold
from driftlog._store.recording import Recorder, Rows
from driftlog._store.tail import Tail
from driftlog._store.view import View
from tests.mutation import Mutants

MUTANTS = Mutants()
mutant = MUTANTS.add

# `Any` stands for the arguments of the methods that are replaced, which are passed on as they come.


# --- what statements look at --------------------------------------------------------------------------------------------


@mutant
def a_row_that_was_looked_at_is_not_noted(patch: pytest.MonkeyPatch) -> None:
    real = Recorder.note
    patch.setattr(Recorder, "note", lambda self, access, *rest: real(self, replace(access, row=None), *rest))


@mutant
def a_row_found_by_a_unique_value_was_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Recorder, "note_row", lambda *_: None)


@mutant
def a_write_that_found_no_row_looked_at_none(patch: pytest.MonkeyPatch) -> None:
    real = Recorder.note

    def note(self: Recorder, access: Access, parameters: Any, before: int) -> None:
        real(self, replace(access, row=None) if access.is_write else access, parameters, before)

    patch.setattr(Recorder, "note", note)


@mutant
def tables_that_were_read_are_not_noted(patch: pytest.MonkeyPatch) -> None:
    real = Recorder.note
    patch.setattr(Recorder, "note", lambda self, access, *rest: real(self, replace(access, reads=()), *rest))


@mutant
def a_statement_that_failed_looked_at_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Recorder, "note_failure", lambda *_: None)


@mutant
def a_statement_that_failed_looked_at_its_own_row_only(patch: pytest.MonkeyPatch) -> None:
    real = Recorder.note_failure
    patch.setattr(Recorder, "note_failure", lambda self, access, rest: real(self, replace(access, if_failed=()), rest))


@mutant
def numbering_a_row_reads_no_other_rows(patch: pytest.MonkeyPatch) -> None:
    real = Recorder.note
    patch.setattr(Recorder, "note", lambda self, access, *rest: real(self, replace(access, numbers_rows=None), *rest))


@mutant
def a_query_reads_only_the_first_table_it_names(patch: pytest.MonkeyPatch) -> None:
    real = _Reader._all_seen
    patch.setattr(_Reader, "_all_seen", lambda self: real(self)[:0])


@mutant
def an_insert_that_may_pass_over_a_row_is_like_any_other(patch: pytest.MonkeyPatch) -> None:
    real = _Reader._insert
    patch.setattr(_Reader, "_insert", lambda self: replace(real(self), reads=self._all_seen() if self._loops else ()))


@mutant
def triggers_read_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(_Reader, "_fires_triggers", lambda *_: False)


@mutant
def the_first_part_of_a_key_is_the_key(patch: pytest.MonkeyPatch) -> None:
    real = RowOf.cell

    def cell(self: RowOf, parameters: Any) -> Any:
        found: Any = real(self, parameters)
        is_whole = found is None or not isinstance(found[-1], tuple) or self.find_sql is not None
        return found if is_whole else (found[0], found[1][:1])

    patch.setattr(RowOf, "cell", cell)


# --- what rows depend on ------------------------------------------------------------------------------------------------


def _without(patch: pytest.MonkeyPatch, **fields: Any) -> None:
    real = Constraints.touched_by

    def touched_by(self: Constraints, *arguments: Any) -> None:
        real(replace(self, **fields), *arguments)

    patch.setattr(Constraints, "touched_by", touched_by)


@mutant
def unique_values_tie_nobody(patch: pytest.MonkeyPatch) -> None:
    _without(patch, uniques=())


@mutant
def a_child_does_not_depend_on_its_parent(patch: pytest.MonkeyPatch) -> None:
    _without(patch, as_child=())


@mutant
def a_parent_does_not_depend_on_its_children(patch: pytest.MonkeyPatch) -> None:
    _without(patch, as_parent=())


@mutant
def every_table_is_as_exact_as_any(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Constraints, "is_coarse", property(lambda _self: False))


@mutant
def a_rejected_event_depends_on_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Recorder, "finish_rejected", lambda _self: None)


@mutant
def a_rejected_event_does_not_depend_on_what_it_tried_to_change(patch: pytest.MonkeyPatch) -> None:
    real = Recorder.finish_rejected

    def finish(self: Recorder) -> bytes | None:
        self.changes.clear()
        return real(self)

    patch.setattr(Recorder, "finish_rejected", finish)


# --- what depends on what -----------------------------------------------------------------------------------------------


def _touching(patch: pytest.MonkeyPatch, changed: Callable[[Touch], Touch]) -> None:
    real = TouchIndex.add
    patch.setattr(TouchIndex, "add", lambda self, at, touch: real(self, at, changed(touch)))


@mutant
def readers_are_not_in_the_index(patch: pytest.MonkeyPatch) -> None:
    _touching(patch, lambda touch: Touch((), touch.writes))


@mutant
def readers_of_whole_tables_are_not_in_the_index(patch: pytest.MonkeyPatch) -> None:
    _touching(patch, lambda touch: Touch(tuple(cell for cell in touch.reads if len(cell) > 1), touch.writes))


@mutant
def writers_are_not_in_the_index(patch: pytest.MonkeyPatch) -> None:
    _touching(patch, lambda touch: Touch(touch.reads, ()))


@mutant
def only_what_depends_directly_is_undone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TouchIndex, "closure", lambda _self, seeds, _count_max: set(seeds))


@mutant
def what_a_late_event_reads_does_not_matter(patch: pytest.MonkeyPatch) -> None:
    real = TouchIndex.conflicting
    patch.setattr(TouchIndex, "conflicting", lambda self, at, touch: real(self, at, Touch((), touch.writes)))


@mutant
def what_a_late_event_writes_does_not_matter(patch: pytest.MonkeyPatch) -> None:
    real = TouchIndex.conflicting
    patch.setattr(TouchIndex, "conflicting", lambda self, at, touch: real(self, at, Touch(touch.reads, ())))


@mutant
def what_an_event_did_before_others_were_undone_stands(patch: pytest.MonkeyPatch) -> None:
    real = View.rewind
    patch.setattr(View, "rewind", lambda self, undos: None if len(undos := list(undos)) == 1 else real(self, undos))


@mutant
def own_events_are_not_in_the_index(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tail, "add", lambda *_: None)


@mutant
def received_events_are_not_in_the_index(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tail, "note", lambda *_: None)


@mutant
def what_waits_to_be_entered_waits_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tail, "_enter", lambda *_: None)


@mutant
def a_replayed_event_is_believed_to_touch_what_it_touched_before(patch: pytest.MonkeyPatch) -> None:
    real = TouchIndex.put
    patch.setattr(TouchIndex, "put", lambda self, at, touch: None if at in self else real(self, at, touch))


@mutant
def the_index_is_kept_after_a_weave_that_was_given_up(patch: pytest.MonkeyPatch) -> None:
    real = Fold._abandon_weave
    patch.setattr(Fold, "_abandon_weave", lambda self, **_: real(self, is_index_changed=False))


@mutant
def undone_events_are_not_replayed(patch: pytest.MonkeyPatch) -> None:
    real = Fold._undo

    def undo(self: Fold, *arguments: Any) -> Any:
        real(self, *arguments)
        return []

    patch.setattr(Fold, "_undo", undo)


@mutant
def the_newest_image_of_a_row_is_put_back(patch: pytest.MonkeyPatch) -> None:
    real = Rows.merge
    patch.setattr(Rows, "merge", lambda self, undos: real(self, reversed(list(undos))))


@mutant
def what_a_rejected_event_had_changed_stays(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Recorder, "images", lambda _: {})


@mutant
def a_row_that_a_rejected_event_made_stays(patch: pytest.MonkeyPatch) -> None:
    real = Recorder.images

    def images(self: Recorder) -> Any:
        found = real(self)
        return found and {cell: row for cell, row in found.items() if row is not None}

    patch.setattr(Recorder, "images", images)
