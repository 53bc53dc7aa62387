"""Run full cases by the thousand: `python -m tests.campaign --cases 50000 --jobs 2 --start 100000`.

CI runs the same cases over seeds that never change; a campaign looks where nobody has looked yet. A failing seed is run
again with `--replay SEED`, which finds the shortest run of it that still fails.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from driftlog.testing.simulation.blocks import add_limits, limits, side_by_side, spans
from tests.cases import ACTIONS_MAX, EXPECTED, CaseFailed, run_case

CASES = 1_000
"""Of a command that says neither how many nor how long."""

BLOCK_CASES = 50
FAILURES_SHOWN_MAX = 10


class Block(NamedTuple):
    """What a run of consecutive seeds gave."""

    first: int
    cases: int
    counts: Counter[str]
    failures: tuple[tuple[int, str], ...]


def run_block(first: int, count: int) -> Block:
    """Run cases `first` to `first + count - 1`, each in files of its own, and go on after a failure."""
    counts: Counter[str] = Counter()
    failures = []
    with tempfile.TemporaryDirectory(prefix="driftlog-campaign-") as folder:
        for seed in range(first, first + count):
            try:
                counts += run_case(seed, Path(folder))
            except CaseFailed as failure:
                failures.append((seed, str(failure)))
    return Block(first, count, counts, tuple(failures))


def campaign(start: int, cases: int | None, seconds: float | None, jobs: int) -> int:
    """Run a campaign of so many cases or so long, say how it goes, and give the number of cases that failed."""
    total: Counter[str] = Counter()
    failed: list[int] = []
    done, began, told = 0, time.monotonic(), 0.0
    for block in side_by_side(run_block, spans(start, cases, BLOCK_CASES), jobs, seconds=seconds):
        total += block.counts
        done += block.cases
        for seed, message in block.failures:
            failed.append(seed)
            if len(failed) <= FAILURES_SHOWN_MAX:
                print(message, end="\n\n", flush=True)
        spent = time.monotonic() - began
        if spent - told > 10 or done == cases:
            told = spent
            print(f"{done} cases, {len(failed)} failed, {spent / done * 1000:.0f} ms a case", flush=True)
    print(f"seeds {start} to {start + done - 1}: {', '.join(f'{count} {kind}' for kind, count in total.most_common())}")
    if missing := [kind for kind in EXPECTED if not total[kind]]:
        print(f"never occurred: {', '.join(missing)}")
    if failed:
        print(f"{len(failed)} failed: {' '.join(map(str, failed[:200]))}")
    return len(failed)


def replay(seed: int) -> int:
    """Run one case, and print the shortest run of it that fails. Gives 1 if it does, 0 if it passes."""
    with tempfile.TemporaryDirectory(prefix="driftlog-replay-") as folder:
        for actions in [*range(ACTIONS_MAX), None]:
            try:
                counts = run_case(seed, Path(folder), actions=actions)
            except CaseFailed as failure:
                print(f"fails after {'all' if actions is None else actions} actions:\n{failure}")
                return 1
    print(f"case {seed} passes: {dict(counts)}")
    return 0


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=(__doc__ or "").partition("\n")[0])
    add_limits(parser, "cases", CASES)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--start", type=int, default=100_000, help="the first seed")
    parser.add_argument("--replay", type=int, metavar="SEED", help="run this case again, as short as it fails")
    asked = parser.parse_args()
    if asked.replay is not None:
        return replay(asked.replay)
    number, seconds = limits(asked, "cases", CASES)
    return min(campaign(asked.start, number, seconds, asked.jobs), 1)


if __name__ == "__main__":
    sys.exit(main())
