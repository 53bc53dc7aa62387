"""Flipped bits by the thousand: `python3 tasks.py flips --count N --start SEED --jobs 2`.

Each flips one bit of a database or its WAL, and holds verify and repair to what that harmed. A failure names its seed.
"""

import argparse
import logging
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from tests.disk.rot import judge_flip, make_base, prepare

CHUNK = 50


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
            failures.append(f"flip {seed} of base {start}: {type(error).__name__}: {error}"[:300])
    return total, failures


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    end = arguments.start + arguments.count
    starts = range(arguments.start, end, CHUNK)
    total: Counter[str] = Counter()
    failed = 0
    started = time.monotonic()
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for counted, failures in pool.map(work, starts, [min(CHUNK, end - start) for start in starts]):
            total += counted
            failed += len(failures)
            for failure in failures:
                print(f"  {failure}", flush=True)
    print(f"{dict(total)}, {failed} failed, {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
