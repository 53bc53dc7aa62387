"""Scenarios with their judges, run for tests and for the command: every cut of one, and random ones of all."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

from driftlog.testing.disk import Journal, Marked
from tests.disk.cutting import Judge, Result, cut_all, every_cut, random_cuts
from tests.disk.judging import judge
from tests.disk.relays import RELAY_SCENARIOS, judge_relay, record_relay
from tests.disk.scenarios import SCENARIOS, relaxed
from tests.disk.world import record, workplace


@dataclass(frozen=True)
class Case:
    """A scenario, how it is recorded, and how its cuts are judged."""

    name: str
    record: Callable[[], Journal]
    judge: Judge


CASES = tuple(
    Case(each.__name__, functools.partial(record, each), functools.partial(judge, is_relaxed=each is relaxed))
    for each in SCENARIOS
) + tuple(
    Case(f"relay_{each.__name__}", functools.partial(record_relay, each), judge_relay) for each in RELAY_SCENARIOS
)


def run_every(case: Case, start: int = 0, *, ends_at_first: bool = False) -> Result:
    """Cut after every operation, or up to the first cut that fails."""
    journal = case.record()
    with workplace() as directory:
        plan = every_cut(journal, start, _begin(case, journal))
        return cut_all(case.name, journal, plan, case.judge, directory, ends_at_first=ends_at_first)


def _begin(case: Case, journal: Journal) -> int:
    """Where a scenario differs from others: all but the first two found a space as the first one does."""
    is_as_others = case.name not in ("founding", "joining") and not case.name.startswith("relay_")
    marks = (number for number, done in enumerate(journal) if isinstance(done, Marked))
    return next(marks) if is_as_others else 0


def run_random(case: Case, count: int, start: int) -> Result:
    """Cut by chance, so many times."""
    journal = case.record()
    with workplace() as directory:
        return cut_all(case.name, journal, random_cuts(journal, count, start), case.judge, directory)
