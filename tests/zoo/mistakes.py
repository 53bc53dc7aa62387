"""What a mistake is: a patch of one place, the incident in words, and how much work it may take until it is found.

Each is a function that patches. Its name is the mistake, its docstring says who shipped it or how it bites. The simulator is
given seeds, from 1 on; a mistake about disks brings its own scenarios and is given their cuts.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import NamedTuple

import pytest

from driftlog.testing.simulation.example import VERSIONS
from driftlog.testing.simulation.faults import FAULTS, KINDS_OF_DISKS
from driftlog.testing.simulation.plan import Plan, draw
from driftlog.testing.simulation.run import run
from tests.mutation import Mutation

# `Any`, in the files of this directory, stands for the arguments of methods that are replaced, passed on as they come.

Trial = Callable[[], str | None]
"""Runs something that should find the mistake; gives what it found, or None."""


class Mistake(NamedTuple):
    """A mistake, and within how many trials it must be found."""

    make: Mutation
    trials_max: int
    trials: Callable[[], Iterator[Trial]]

    @property
    def name(self) -> str:
        """The mistake, in words."""
        return self.make.__name__.replace("_", " ")

    @property
    def incident(self) -> str:
        """Who shipped it, or how it bites."""
        return " ".join((inspect.getdoc(self.make) or "").split())


class Found(NamedTuple):
    """How many trials a mistake took, and what was then said."""

    trials: int
    words: str


def find(mistake: Mistake, trials_max: int | None = None) -> Found | None:
    """Make a mistake, and look for it; None if it is not found."""
    with pytest.MonkeyPatch.context() as patch:
        mistake.make(patch)
        for number, trial in zip(range(1, 1 + (trials_max or mistake.trials_max)), mistake.trials(), strict=False):
            words = trial()
            if words is not None:
                return Found(number, words)
    return None


def seeds() -> Iterator[Trial]:
    """Give the simulator's runs, from seed 1 on, with honest disks: the fewer kinds of fault, the sooner each is met."""
    return _seeds(frozenset(FAULTS) - KINDS_OF_DISKS)


def seeds_of_disks() -> Iterator[Trial]:
    """Give runs with faults of disks only."""
    return _seeds(KINDS_OF_DISKS)


def seeds_of_rotting_relays() -> Iterator[Trial]:
    """Give runs in which nothing happens but that relays' files rot."""
    return _seeds(frozenset({"bits rot in the file of a relay"}))


def seeds_named(*named: int) -> Callable[[], Iterator[Trial]]:
    """Give runs with all kinds of fault, for what is met in one of some thousands."""

    def trials() -> Iterator[Trial]:
        for seed in named:
            yield partial(_failure, draw(seed, has_older=True))

    return trials


def _seeds(kinds: frozenset[str]) -> Iterator[Trial]:
    for seed in count(1):
        yield partial(_failure, draw(seed, has_older=True, kinds=kinds))


def _failure(plan: Plan) -> str | None:
    return run(plan, VERSIONS).failure


class Zoo:
    """Mistakes by name, each registered by the decorator that `within` gives."""

    def __init__(self) -> None:
        self.mistake_by_name: dict[str, Mistake] = {}

    def within(self, trials_max: int, trials: Callable[[], Iterator[Trial]] = seeds) -> Callable[[Mutation], Mutation]:
        """Register a mistake that must be found within so many trials."""

        def register(make: Mutation) -> Mutation:
            mistake = Mistake(make, trials_max, trials)
            assert mistake.incident, f"{mistake.name} does not say how it bites"
            assert mistake.name not in self.mistake_by_name
            self.mistake_by_name[mistake.name] = mistake
            return make

        return register
