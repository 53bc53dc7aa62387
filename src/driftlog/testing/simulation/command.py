"""The command: `python -m driftlog.testing.simulation --seeds 2000 --jobs 2`, or `--seed 17` to run one again."""

import argparse
import importlib
import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from driftlog.cli.arguments import UsageError
from driftlog.cli.loading import load_app
from driftlog.testing.simulation.example import VERSIONS
from driftlog.testing.simulation.faults import FAULTS
from driftlog.testing.simulation.plan import FAULTS_MAX, FAULTS_MIN, draw
from driftlog.testing.simulation.run import Outcome, run
from driftlog.testing.simulation.simulating import Simulated, explain
from driftlog.testing.simulation.versions import Version, Workload

BLOCK_SEEDS: Final = 25
FAILURES_EXPLAINED_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for, as it can be handed to another process."""

    apps: tuple[tuple[str, str], ...]
    """Names of apps and workloads, oldest first; none means the example."""
    faults: tuple[int, int]

    def versions(self) -> Sequence[Version]:
        """Import them."""
        return [Version(load_app(app), _load(workload)) for app, workload in self.apps] or VERSIONS


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; gives 1 if a seed failed, 2 if the command line is wrong."""
    asked = _parser().parse_args(argv)
    # A relay that is made to fail says so; here that is no news.
    logging.getLogger("driftlog").setLevel(logging.CRITICAL)
    apps = tuple((one[0], one[1]) for one in [*asked.older, *([asked.app] if asked.app else [])])
    what = Asked(apps, (asked.faults[0], asked.faults[1]))
    try:
        what.versions()
    except UsageError as error:
        print(error)
        return 2
    if asked.seed is not None:
        return _replay(asked.seed, what)
    return _campaign(range(asked.start, asked.start + asked.seeds), asked.jobs, what)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m driftlog.testing.simulation", description="Run simulated fleets through faults of all kinds."
    )
    parser.add_argument(
        "--app", nargs=2, metavar=("APP", "WORKLOAD"), help="module:attribute of each; an example if none"
    )
    parser.add_argument("--older", nargs=2, metavar=("APP", "WORKLOAD"), action="append", default=[])
    parser.add_argument("--seed", type=int, help="run this one, and say what happens")
    parser.add_argument("--seeds", type=int, default=100, help="how many")
    parser.add_argument("--start", type=int, default=0, help="the first")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--faults", type=int, nargs=2, metavar=("MIN", "MAX"), default=(FAULTS_MIN, FAULTS_MAX))
    return parser


def _replay(seed: int, what: Asked) -> int:
    plan = draw(seed, has_older=len(what.versions()) > 1, faults=what.faults)
    outcome = run(plan, what.versions())
    if outcome.failure is None:
        print("\n".join(outcome.lines))
        print(f"seed {seed} passes; trace {outcome.trace}")
        return 0
    print(explain(plan, outcome, what.versions(), f"--seed {seed}"))
    return 1


def _campaign(seeds: range, jobs: int, what: Asked) -> int:
    simulated, began, told, failed = Simulated(), time.monotonic(), 0.0, list[int]()
    for outcome in _outcomes(seeds, jobs, what):
        simulated.add(outcome)
        if outcome.failure is not None:
            failed.append(outcome.seed)
            if len(failed) <= FAILURES_EXPLAINED_MAX:
                plan = draw(outcome.seed, has_older=len(what.versions()) > 1, faults=what.faults)
                print(explain(plan, outcome, what.versions(), f"--seed {outcome.seed}"), end="\n\n", flush=True)
        spent = time.monotonic() - began
        if spent - told > 10 or simulated.seeds == len(seeds):
            told = spent
            rate = simulated.seeds / spent
            print(f"{simulated.seeds} of {len(seeds)} seeds, {len(failed)} failed, {rate:.1f} a second", flush=True)
    for name in FAULTS:
        print(f"{simulated.faults[name]:>9,} {name}")
    print(
        f"{simulated.faults.total():,} faults, {simulated.events:,} events, "
        f"agreement at most {simulated.converged_ms_max / 1000:.1f} virtual seconds after the last fault"
    )
    if failed:
        print(f"{len(failed)} failed: {' '.join(map(str, failed[:100]))}")
    return min(len(failed), 1)


def _outcomes(seeds: range, jobs: int, what: Asked) -> Iterator[Outcome]:
    blocks = [seeds[at : at + BLOCK_SEEDS] for at in range(0, len(seeds), BLOCK_SEEDS)]
    if jobs == 1:
        for block in blocks:
            yield from run_block(block, what)
        return
    with ProcessPoolExecutor(jobs) as pool:
        for outcomes in pool.map(run_block, blocks, [what] * len(blocks)):
            yield from outcomes


def run_block(seeds: Sequence[int], what: Asked) -> list[Outcome]:
    """Run seeds, and go on after a failure."""
    logging.getLogger("driftlog").setLevel(logging.CRITICAL)
    versions = what.versions()
    return [run(draw(seed, has_older=len(versions) > 1, faults=what.faults), versions) for seed in seeds]


def _load(name: str) -> Workload:
    where, colon, attribute = name.partition(":")
    if not colon:
        raise UsageError(f"{name!r} names no workload; give module:function")
    try:
        found: Workload = attrgetter(attribute)(importlib.import_module(where))
    except (ImportError, AttributeError) as error:
        raise UsageError(f"there is no workload {name}: {error}") from error
    return found
