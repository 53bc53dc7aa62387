"""The judge is judged: each deliberate mistake in how late events are woven in is found by a story, a weaving or a case."""

from pathlib import Path

import pytest

from driftlog._store.known import known_of
from tests.cases import CaseFailed, run_case
from tests.mutants import MUTANTS
from tests.mutation import Mutation
from tests.stories import STORIES, tell
from tests.weaving import bench_of, run_weaving

CASES_MAX = 150
WEAVINGS_MAX = 1_000


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTANTS.values(), ids=MUTANTS)
def test_a_broken_rule_is_found_out(mutation: Mutation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mutation(monkeypatch)

    known_of.cache_clear()
    try:
        assert _is_found_by_a_story() or _is_found_by_weaving() or _is_found_by_a_case(tmp_path)
    finally:
        # What was found out by a broken rule is not to be believed by those that come after.
        known_of.cache_clear()


def _is_found_by_a_story() -> bool:
    for story in STORIES.values():
        try:
            tell(story)
        except Exception:  # noqa: BLE001 - a broken engine fails in whatever way it likes
            return True
    return False


def _is_found_by_weaving() -> bool:
    # Benches are kept from case to case, and must not be from one mistake to the next.
    bench_of.cache_clear()
    try:
        for seed in range(1, WEAVINGS_MAX):
            run_weaving(seed)
    except AssertionError:
        return True
    finally:
        bench_of.cache_clear()
    return False


def _is_found_by_a_case(folder: Path) -> bool:
    for seed in range(1, CASES_MAX):
        try:
            run_case(seed, folder)
        except CaseFailed:
            return True
    return False
