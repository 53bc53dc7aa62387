"""Flipped bits by the thousand: `python3 tasks.py flips --count N --start SEED --jobs 2`.

Each flips one bit of a database or its WAL, and holds verify and repair to what that harmed. A failure names its seed.
"""

import argparse
import logging
import sys
import time
from collections import Counter

from driftlog.testing.simulation.blocks import add_limits, limits, side_by_side, spans
from tests.disk.rot import judge_flip, make_base, prepare

COUNT = 1_000
"""Of a command that says neither how many nor how long."""

CHUNK = 50
"""Flips of one device's files."""


def work(start: int, count: int) -> tuple[Counter[str], list[str]]:
    """Flip so many bits of one device's files, which are made anew for each call."""
    logging.disable()  # materializers meet damaged payloads by the hundred, and each would be logged
    base = prepare(make_base(start))
    total: Counter[str] = Counter()
    failures = []
    for seed in range(start, start + count):
        try:
            total += judge_flip(base, seed)
        except Exception as error:  # noqa: BLE001 - all verdicts are wanted, not the first
            what = f"flip {seed} of base {start}: {type(error).__name__}: {error}"[:300]
            failures.append(
                f"{what}; again: python3 tasks.py flips --start {start} --count {seed - start + 1} --jobs 1"
            )
    return total, failures


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_limits(parser, "count", COUNT)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    number, seconds = limits(arguments, "count", COUNT)
    total: Counter[str] = Counter()
    failed = 0
    started = time.monotonic()
    for counted, failures in side_by_side(work, spans(arguments.start, number, CHUNK), arguments.jobs, seconds=seconds):
        total += counted
        failed += len(failures)
        for failure in failures:
            print(f"  {failure}", flush=True)
    print(f"{dict(total)}, {failed} failed, {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
