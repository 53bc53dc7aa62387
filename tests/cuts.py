"""Power cuts by the ten thousand: `python3 tasks.py cuts --scenarios all --random N --start SEED --jobs 2`.

Every operation of each scenario is cut after, and then N cuts by chance are drawn over all of them. A failure names its
scenario, the number of the operation and the seed; with the same arguments it is found again.
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.disk.cutting import Result
from tests.disk.running import CASES, Case, run_every, run_random

CHUNK = 250
"""Random cuts of one scenario at a time: enough that its recording does not count."""


def work(name: str, count: int, start: int) -> tuple[str, Result]:
    """Run all cuts of a scenario, or so many random ones."""
    case = _case(name)
    return name, run_random(case, count, start) if count else run_every(case, start)


def _case(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenarios", default="all", help="names, with commas between, or all")
    parser.add_argument("--random", type=int, default=2_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    names = [case.name for case in CASES]
    if arguments.scenarios != "all":
        names = [name for name in names if name in arguments.scenarios.split(",")]
    orders = [(name, 0, arguments.start) for name in names]
    begin = arguments.start
    while begin < arguments.start + arguments.random:
        orders.append(
            (names[begin // CHUNK % len(names)], min(CHUNK, arguments.start + arguments.random - begin), begin)
        )
        begin += CHUNK
    total = Result()
    started = time.monotonic()
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for name, result in pool.map(work, *zip(*orders, strict=True)):
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
