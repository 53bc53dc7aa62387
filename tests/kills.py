"""Killed processes by the thousand: `python3 tasks.py kills --count 2000 --start SEED --jobs 2`.

Each block kills processes of one kind, one after the other, and looks at what each has left, as the tests in `tests/crash`
do. What a process does and how long it lives are drawn from the seed; where in a write its end comes is the machine's doing.
So a failure keeps its files, and its command is likely to find it again, not sure to.
"""

import argparse
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from driftlog.testing.simulation.blocks import add_limits, limits, side_by_side, spans
from tests.crash.test_kill_device import kill_at_founding, kill_at_syncing, kill_at_work
from tests.crash.test_kill_rebuild import kill_in_rebuild
from tests.crash.test_kill_relay import kill_relay

KINDS: dict[str, Callable[[Path, int, int], None]] = {
    "work": kill_at_work,
    "founding": kill_at_founding,
    "syncing": kill_at_syncing,
    "relay": kill_relay,
    "rebuild": kill_in_rebuild,
}

COUNT = 2_000
"""Of a command that says neither how many nor how long."""

BLOCK_KILLS = 20
"""Of one kind: what is founded before the first hardly counts, and every place of a rebuild has its turn."""


def work(kind: str, first: int, kills: int) -> tuple[str, int, list[str]]:
    """Kill so many processes of a kind. Gives how many, and what was wrong after one of them, which is then the last."""
    logging.disable()  # relays and syncs say that the other end has gone, which is no news here
    folder = Path(tempfile.mkdtemp(prefix=f"driftlog-kills-{kind}-{first}-"))
    is_kept = False
    try:
        KINDS[kind](folder, first, kills)
    except Exception as error:  # noqa: BLE001 - all verdicts are wanted, not the first
        is_kept = True
        again = f"python3 tasks.py kills --kind {kind} --start {first} --count {kills} --jobs 1"
        return kind, kills, [f"{type(error).__name__}: {error} (files in {folder}); again: {again}"]
    finally:
        if not is_kept:
            shutil.rmtree(folder)
    return kind, kills, []


def blocks(kinds: Sequence[str], start: int, number: int | None) -> Iterator[tuple[str, int, int]]:
    """Order so many kills, in whole blocks, or without end, of one kind after the other."""
    for first, _ in spans(start, number, BLOCK_KILLS):
        yield kind_of(first, kinds), first, BLOCK_KILLS


def kind_of(first: int, kinds: Sequence[str] = tuple(KINDS)) -> str:
    """Give the kind of a block that begins with a seed."""
    return kinds[first // BLOCK_KILLS % len(kinds)]


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=sorted(KINDS), action="append", help="this one; may be given again")
    add_limits(parser, "count", COUNT)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    number, seconds = limits(arguments, "count", COUNT)
    orders = blocks(arguments.kind or list(KINDS), arguments.start, number)
    killed = failed = 0
    started = time.monotonic()
    for kind, kills, failures in side_by_side(work, orders, arguments.jobs, seconds=seconds):
        killed += kills
        failed += len(failures)
        print(f"{kind}: {kills} kills, {len(failures)} failed", flush=True)
        for failure in failures:
            print(f"  {failure}", flush=True)
    print(f"{killed} kills, {failed} failed, {time.monotonic() - started:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
