"""The judge is judged: each deliberate mistake in live queries is found by a history, or by sorting anew."""

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.mutation import Mutation
from tests.reactive import test_answers_by_chance, test_keeping, test_kept_answers, test_states, test_what_counts
from tests.reactive.mutants import MUTANTS
from tests.space import test_live
from tests.todo_app import todo_app

HISTORIES_MAX = 12

BY_SIZE = ((1, False), (0, True))


@pytest.mark.parametrize("mutation", MUTANTS.values(), ids=MUTANTS)
def test_a_broken_rule_of_live_queries_is_found_out(
    mutation: Mutation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mutation(monkeypatch)

    # Twice where nothing is found: on a busy machine, the thread that looks for other processes' writes may be quicker than
    # a story that wants to be.
    again = tmp_path / "again"
    again.mkdir()
    assert any(_finds(case) for case in (*_quick_cases(tmp_path), *_histories(), *_quick_cases(again)))


def test_where_nothing_is_broken_nothing_is_found(tmp_path: Path) -> None:
    # The histories are run by tests of their own.
    assert not any(_finds(case) for case in _quick_cases(tmp_path))


Case = Callable[[], object]


def _quick_cases(folder: Path) -> list[Case]:
    return [
        *(partial(test_what_counts.tell, sql, change) for sql, change in test_what_counts.CARELESS),
        *(partial(story, folder) for story in test_states.STORIES),
        test_what_counts.overflow_on_the_way,
        test_what_counts.last_value_lost,
        _a_rebuild_that_mends_the_tables,
        *(partial(test_keeping.sort_again, BY_SIZE, limit) for limit in (None, 4)),
    ]


def _a_rebuild_that_mends_the_tables() -> None:
    with todo_app().open(":memory:") as space:
        test_live.test_a_rebuild_that_mends_the_tables_is_told(space)


def _histories() -> Iterator[Case]:
    for seed in range(HISTORIES_MAX):
        yield partial(test_kept_answers.run_a_history, random.Random(seed))
        yield partial(test_answers_by_chance.run_a_history, random.Random(seed))


def _finds(case: Case) -> bool:
    try:
        case()
    except Exception:  # noqa: BLE001 - a broken engine fails in whatever way it likes
        return True
    return False
