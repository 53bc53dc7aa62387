"""Many seeds for an app that is named, not given, so that other processes and a command line can say it; all that fail."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, cast

from driftlog.cli.loading import load_app_and_work
from driftlog.testing.simulation.blocks import side_by_side
from driftlog.testing.simulation.example import VERSIONS
from driftlog.testing.simulation.plan import Plan, draw
from driftlog.testing.simulation.run import Outcome, run
from driftlog.testing.simulation.simulating import Explanation, Simulated, explain
from driftlog.testing.simulation.versions import Version, Workload

BLOCK_SEEDS: Final = 10
FAILURES_EXPLAINED_MAX: Final = 3
"""Each costs up to some three hundred runs to reduce; more of one app mostly have the same cause."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command line asks for, as it can be handed to another process."""

    apps: tuple[tuple[str, str], ...]
    """Names of apps and workloads, oldest first; none means the example."""
    faults: tuple[int, int]

    def versions(self) -> Sequence[Version]:
        """Import them. Raises `UsageError` if there is none by a name."""
        return [_version(*one) for one in self.apps] or VERSIONS

    def plan(self, seed: int) -> Plan:
        """Draw what happens in a seed."""
        return draw(seed, has_older=len(self.apps or VERSIONS) > 1, faults=self.faults)


@dataclass
class Campaign:
    """What came of many seeds."""

    simulated: Simulated = field(default_factory=Simulated)
    failed: list[int] = field(default_factory=list[int])


def campaign(
    asked: Asked,
    versions: Sequence[Version],
    seeds: Iterable[int],
    *,
    jobs: int,
    seconds: float | None = None,
    command: Callable[[int], str],
    tell: Callable[[Explanation], None],
    progress: Callable[[Campaign], None],
) -> Campaign:
    """Run seeds, or those that there is time for, and go on after a failure.

    `command` names what runs a seed again; the first failures are told.
    """
    found = Campaign()
    for outcome in _outcomes(asked, versions, seeds, jobs, seconds):
        found.simulated.add(outcome)
        if outcome.failure is not None:
            found.failed.append(outcome.seed)
            if len(found.failed) <= FAILURES_EXPLAINED_MAX:
                tell(explain(asked.plan(outcome.seed), outcome, versions, command(outcome.seed)))
        progress(found)
    found.failed.sort()
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Log nothing within: a relay that is made to fail says so, which is no news here."""
    logger = logging.getLogger("driftlog")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _outcomes(
    asked: Asked, versions: Sequence[Version], seeds: Iterable[int], jobs: int, seconds: float | None
) -> Iterator[Outcome]:
    if jobs == 1:
        yield from side_by_side(lambda seed: run(asked.plan(seed), versions), zip(seeds), 1, seconds=seconds)
        return
    left = iter(seeds)
    orders = ((block, asked) for block in iter(lambda: list(islice(left, BLOCK_SEEDS)), []))
    for outcomes in side_by_side(run_block, orders, jobs, seconds=seconds):
        yield from outcomes


@quiet()
def run_block(seeds: Sequence[int], asked: Asked) -> list[Outcome]:
    """Run seeds in a process of a pool."""
    versions = asked.versions()
    return [run(asked.plan(seed), versions) for seed in seeds]


def _version(app: str, work: str) -> Version:
    loaded, function = load_app_and_work(app, work)
    # What it takes is found out by calling it.
    return Version(loaded, cast("Workload", function))
