"""The command: `python -m driftlog.testing.simulation --seeds 2000 --jobs 2`, or `--seed 17` to run one again."""

import argparse
import time
from collections.abc import Iterable, Sequence
from itertools import count
from typing import Final

from driftlog.errors import DriftlogError
from driftlog.testing.simulation.blocks import add_limits, limits
from driftlog.testing.simulation.campaign import Asked, Campaign, campaign, quiet
from driftlog.testing.simulation.faults import FAULTS
from driftlog.testing.simulation.plan import FAULTS_MAX, FAULTS_MIN
from driftlog.testing.simulation.run import run
from driftlog.testing.simulation.simulating import command_for, explain, nothing_shown
from driftlog.testing.simulation.versions import Version

SEEDS: Final = 100
"""Of a command that says neither how many nor how long."""


@quiet()
def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; gives 1 if a seed failed or nothing was shown, 2 if the command line is wrong."""
    asked = _parser().parse_args(argv)
    apps = tuple((one[0], one[1]) for one in [*asked.older, *([asked.app] if asked.app else [])])
    what = Asked(apps, (asked.faults[0], asked.faults[1]))
    try:
        versions = what.versions()
    except DriftlogError as error:
        print(error)
        return 2
    if asked.seed is not None:
        return _replay(asked.seed, what, versions)
    number, seconds = limits(asked, "seeds", SEEDS)
    return _campaign(asked.start, number, seconds, asked.jobs, what, versions)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m driftlog.testing.simulation", description="Run simulated fleets through faults of all kinds."
    )
    parser.add_argument(
        "--app", nargs=2, metavar=("APP", "WORKLOAD"), help="module:attribute of each; an example if none"
    )
    parser.add_argument("--older", nargs=2, metavar=("APP", "WORKLOAD"), action="append", default=[])
    parser.add_argument("--seed", type=int, help="run this one, and say what happens")
    add_limits(parser, "seeds", SEEDS)
    parser.add_argument("--start", type=int, default=0, help="the first")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--faults", type=int, nargs=2, metavar=("MIN", "MAX"), default=(FAULTS_MIN, FAULTS_MAX))
    return parser


def _replay(seed: int, what: Asked, versions: Sequence[Version]) -> int:
    outcome = run(what.plan(seed), versions)
    if outcome.failure is None:
        print("\n".join(outcome.lines))
        print(f"seed {seed} passes; trace {outcome.trace}")
        return 0
    print(explain(what.plan(seed), outcome, versions, command_for(what.apps, what.faults, seed)))
    return 1


def _campaign(
    start: int, number: int | None, seconds: float | None, jobs: int, what: Asked, versions: Sequence[Version]
) -> int:
    seeds: Iterable[int] = count(start) if number is None else range(start, start + number)
    began, told = time.monotonic(), 0.0

    def progress(so_far: Campaign) -> None:
        nonlocal told
        done, spent = so_far.simulated.seeds, time.monotonic() - began
        if spent - told > 10 or done == number:
            told = spent
            of = "" if number is None else f" of {number}"
            print(f"{done}{of} seeds, {len(so_far.failed)} failed, {done / spent:.1f} a second", flush=True)

    found = campaign(
        what,
        versions,
        seeds,
        jobs=jobs,
        seconds=seconds,
        command=lambda seed: command_for(what.apps, what.faults, seed),
        tell=lambda explanation: print(explanation, end="\n\n", flush=True),
        progress=progress,
    )
    for name in FAULTS:
        print(f"{found.simulated.faults[name]:>9,} {name}")
    print(summary(found))
    if not found.failed and found.simulated.events == 0:
        print(nothing_shown(what.apps[-1][1] if what.apps else "the example"))
        return 1
    return min(len(found.failed), 1)


def summary(found: Campaign) -> str:
    """Say in a line or two what came of it."""
    simulated = found.simulated
    text = (
        f"{simulated.faults.total():,} faults, {simulated.events:,} events, "
        f"agreement at most {simulated.converged_ms_max / 1000:.1f} virtual seconds after the last fault"
    )
    return f"{text}\n{len(found.failed)} failed: {' '.join(map(str, found.failed[:100]))}" if found.failed else text
