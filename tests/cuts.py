"""Power cuts by the ten thousand: `python3 tasks.py cuts --scenarios all --random N --start SEED --jobs 2`.

Every operation of each scenario is cut after, unless `--no-every` is given, and then N cuts by chance are drawn over all of
them. A failure names its scenario, the number of the operation and the seed, and the command that finds it again.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import chain

from driftlog.testing.simulation.blocks import add_limits, limits, side_by_side, spans
from tests.disk.cutting import Result
from tests.disk.running import CASES, Case, run_every, run_random

RANDOM = 2_000
"""Of a command that says neither how many nor how long."""

CHUNK = 250
"""Random cuts of one scenario at a time: enough that its recording does not count."""


BY_NAME: dict[str, Case] = {case.name: case for case in CASES}


def work(name: str, count: int, start: int) -> tuple[str, Result]:
    """Run all cuts of a scenario, or so many random ones."""
    case = BY_NAME[name]
    result = run_random(case, count, start) if count else run_every(case, start)
    only = f"--no-every --random {count}" if count else "--random 0"
    again = f"python3 tasks.py cuts --scenarios {name} {only} --start {start} --jobs 1"
    result.failures = [f"{failure}; again: {again}" for failure in result.failures]
    return name, result


def randoms(names: Sequence[str], start: int, number: int | None) -> Iterator[tuple[str, int, int]]:
    """Order so many random cuts, or without end, from one scenario after the other."""
    for begin, count in spans(start, number, CHUNK):
        yield names[begin // CHUNK % len(names)], count, begin


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", default="all", help="names, with commas between, or all")
    parser.add_argument("--every", action=argparse.BooleanOptionalAction, default=True)
    add_limits(parser, "random", RANDOM)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    number, seconds = limits(arguments, "random", RANDOM)
    names = [name for name in BY_NAME if arguments.scenarios == "all" or name in arguments.scenarios.split(",")]
    every = [(name, 0, arguments.start) for name in names if arguments.every]
    orders = chain(every, randoms(names, arguments.start, number))
    total = Result()
    started = time.monotonic()
    for name, result in side_by_side(work, orders, arguments.jobs, seconds=seconds):
        total.cuts += result.cuts
        total.images += result.images
        total.failures += result.failures
        print(f"{name}: {result.cuts} cuts, {result.images} images, {len(result.failures)} failed", flush=True)
        for failure in result.failures:
            print(f"  {failure}", flush=True)
    seconds = time.monotonic() - started
    print(f"{total.cuts} cuts, {total.images} images, {len(total.failures)} failed, {seconds:.0f} s")
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
