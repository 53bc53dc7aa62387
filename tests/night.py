"""All campaigns, one after the other: `python3 tasks.py night --hours 8 --jobs 2 [--start SEED] [--file night.md]`.

`PARTS` says which share of the time each has. What came of one is written as a row of a Markdown table as soon as it is
over, to standard output and to a file; failures are told on standard error besides, as soon as they are found, each with the
command that runs it again. Ctrl-C ends the part that runs, whose row says so, and the night. Fails if anything did.
"""

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from driftlog.testing.simulation.blocks import side_by_side, spans
from driftlog.testing.simulation.campaign import Asked
from driftlog.testing.simulation.campaign import run_block as run_simulated
from driftlog.testing.simulation.simulating import USUAL_FAULTS
from tests import campaign, cuts, flips, kills, weaving
from tests.fuzz.campaign import run as run_fuzz
from tests.fuzz.targets import TARGETS

INTERRUPTED = 130
"""The exit code of what was broken off, as a shell says it."""

FAILURES_WRITTEN_MAX = 10
"""Of a part, into its row: all are told, and more of them mostly have the same cause."""

SEEDS_A_SECOND = 1_000
"""Seeds that a night leaves to the one that begins a second later, so that nights look where none has looked."""

FUZZ_SEEDS = 100_000
"""Of one slice of a second: several times what the quickest target reads in it."""


class Done(NamedTuple):
    """What came of a block: how much was run, and what failed, each with the command that runs it again."""

    units: int
    failures: Iterable[str]


def simulated(first: int, seeds: int) -> Done:
    """Send fleets through faults of all kinds."""
    outcomes = run_simulated(range(first, first + seeds), Asked((), USUAL_FAULTS))
    failed = [each for each in outcomes if each.failure is not None]
    return Done(seeds, [f"{each.failure}; again: python3 tasks.py simulate --seed {each.seed}" for each in failed])


def cut(first: int, draws: int) -> Done:
    """Cut the power by chance. CI cuts after every operation."""
    [order] = cuts.randoms(list(cuts.BY_NAME), first, draws)
    _, result = cuts.work(*order)
    return Done(result.cuts, result.failures)


def converged(first: int, cases: int) -> Done:
    """Let devices meet in any order, and hold them to the naive fold."""
    failures = campaign.run_block(first, cases).failures
    return Done(cases, [f"{why}; again: python3 tasks.py campaign --replay {seed}" for seed, why in failures])


def woven(first: int, cases: int) -> Done:
    """Let late events come in any order."""
    _, failures = weaving.run_block(first, cases)
    return Done(cases, [f"{why}; again: python3 tasks.py weaving --replay {seed}" for seed, why in failures])


def killed(first: int, processes: int) -> Done:
    """Kill processes of one kind."""
    _, number, failures = kills.work(kills.kind_of(first), first, processes)
    return Done(number, failures)


def flipped(first: int, bits: int) -> Done:
    """Flip bits of one device's files."""
    _, failures = flips.work(first, bits)
    return Done(bits, failures)


def fuzzed(first: int, seconds: int) -> Done:
    """Give one of the decoders inputs, for so many seconds: the targets have turns."""
    logging.disable()  # materializers meet damaged payloads by the thousand, and each would be logged
    target = TARGETS[first % len(TARGETS)]
    tally = run_fuzz(target, start=first * FUZZ_SEEDS, seconds=seconds, folder=Path("fuzz-findings"))
    again = f"again: python3 tasks.py fuzz --target {target.name} --replay"
    return Done(tally.inputs, [f"{target.name}, {origin}: {what}; {again} {at}" for origin, what, at in tally.findings])


@dataclass(frozen=True)
class Part:
    """One campaign: its share of a night, and what is run at a time."""

    name: str
    units: str
    share: float
    run: Callable[[int, int], Done]
    block: int
    """Seeds at a time, of some seconds: a part ends as exactly as its blocks are short."""


PARTS = (
    Part("simulation", "seeds", 0.40, simulated, 10),
    Part("power cuts", "cuts", 0.10, cut, cuts.CHUNK),
    Part("convergence", "cases", 0.15, converged, 20),
    Part("kills", "kills", 0.15, killed, kills.BLOCK_KILLS),
    Part("fuzz", "inputs", 0.10, fuzzed, 1),
    Part("weaving", "cases", 0.05, woven, weaving.BLOCK_CASES),
    Part("flips", "flips", 0.05, flipped, flips.CHUNK),
)
"""Most for what reaches most code, and much for kills, which are few for their time."""


@dataclass
class Tally:
    """What has come of a part so far."""

    part: Part
    start: int
    units: int = 0
    failures: list[str] = field(default_factory=list[str])
    is_interrupted: bool = False

    def row(self, seconds: float, cpu_seconds: float) -> str:
        """Give the part's row of the table."""
        said = [_cell(failure) for failure in self.failures[:FAILURES_WRITTEN_MAX]]
        said = ["interrupted"] * self.is_interrupted + said
        each = f"{cpu_seconds * 1000 / self.units:,.1f} ms" if self.units else ""
        amount = f"{self.units:,} {self.part.units} | {self.units / seconds:,.1f} | {each} | {seconds / 60:,.1f}"
        return f"| {self.part.name} | {self.start:,} | {amount} | {len(self.failures)} | {'<br>'.join(said)} |"


HEAD = (
    "| part | seeds from | run | a second | CPU of each | minutes | failed | what, and how to see it again |",
    "|---" * 8 + "|",
)


def _cpu_seconds() -> float:
    """Give what this process and all that have ended below it used: on a busy machine it says more than the time does."""
    return sum(os.times()[:4])


def _cell(text: str) -> str:
    what, _, again = text.partition("; again: ")
    words = " ".join(what.split()).replace("|", "\\|")
    return f"{words[:300]}; `{again}`"


def run_night(
    parts: Iterable[Part],
    *,
    start: int,
    seconds: float,
    jobs: int,
    write: Callable[[str], None],
    tell: Callable[[str], None],
) -> int:
    """Run parts, each for its share of so many seconds, and write the table. Gives the exit code."""
    for line in HEAD:
        write(line)
    is_good = True
    for part in parts:
        tally = Tally(part, start)
        began, spent = time.monotonic(), _cpu_seconds()
        _run_part(tally, seconds * part.share, jobs, tell)
        write(tally.row(time.monotonic() - began, _cpu_seconds() - spent))
        if tally.is_interrupted:
            return INTERRUPTED
        is_good &= not tally.failures
    return 0 if is_good else 1


def _run_part(tally: Tally, seconds: float, jobs: int, tell: Callable[[str], None]) -> None:
    def fail(failure: str) -> None:
        tally.failures.append(failure)
        tell(f"{tally.part.name}: {failure}")

    part = tally.part
    try:
        with closing(side_by_side(part.run, spans(tally.start, None, part.block), jobs, seconds=seconds)) as blocks:
            for done in blocks:
                tally.units += done.units
                for failure in done.failures:
                    fail(failure)
    except KeyboardInterrupt:
        tally.is_interrupted = True
    except Exception as error:  # noqa: BLE001 - a campaign that breaks fails its part of the night, and no other
        fail(f"it broke, {type(error).__name__}: {error}; again: python3 tasks.py night --start {tally.start}")
    if tally.units == 0 and not tally.is_interrupted:
        fail(f"nothing was run in {seconds:.0f} s; again: python3 tasks.py night --start {tally.start}")


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=8.0, help="for all parts together (default: 8)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument(
        "--start", type=int, help="the first seed of every part (default: made of the time, so nobody's)"
    )
    parser.add_argument("--file", type=Path, help="write the table to the end of this file too")
    asked = parser.parse_args()
    start = int(time.time()) * SEEDS_A_SECOND if asked.start is None else asked.start

    def write(line: str) -> None:
        print(line, flush=True)
        if asked.file is not None:
            with asked.file.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    # What a machine says that goes down is what is typed.
    signal.signal(signal.SIGTERM, interrupt)
    return run_night(
        PARTS,
        start=start,
        seconds=asked.hours * 3600,
        jobs=asked.jobs,
        write=write,
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )


if __name__ == "__main__":
    sys.exit(main())
