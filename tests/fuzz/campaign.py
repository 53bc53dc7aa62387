"""A campaign: mutated inputs for one target or all, as long as it is told, and what came of them.

`run` draws each input from a seed of its own, so a finding is repeated by target and seed; the input itself is saved too,
because the mutator may change. A hang is broken off after `HANG_SECONDS` of CPU, an allocation beyond `MEMORY_ABOVE_BYTES`
fails; both are findings.
"""

import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import FrameType
from typing import Final

from tests.fuzz.judging import Finding, Target, judge, traced
from tests.fuzz.mutating import mutated

HANG_SECONDS: Final = 10
MEMORY_ABOVE_BYTES: Final = 2 << 30
DRAWN_AT_ONCE: Final = 50
"""Inputs, of a mebibyte at most."""
FINDINGS_MAX: Final = 10
"""Kept of a target: after so many the next ones are nearly always the same."""


class Hang(Exception):
    """An input took longer than any may."""


@dataclass
class Tally:
    """What a target answered."""

    inputs: int = 0
    read: int = 0
    findings: list[tuple[str, Finding, Path | None]] = field(default_factory=list)
    """From where, what, and the saved input."""


def seeded(target: Target, seed: int) -> bytes:
    """Give a target's input of a seed."""
    return mutated(random.Random(f"{target.name} {seed}"), target.seeds)


def take(target: Target, tally: Tally, origin: str, data: bytes, *, folder: Path | None, slowness: float = 1.0) -> None:
    """Judge one input, and keep it if it is a finding."""
    finding, is_read = judge(target, data, slowness=slowness)
    tally.inputs += 1
    tally.read += is_read
    if finding is None:
        return
    path = save(folder, target, data) if folder else None
    tally.findings.append((origin, finding, path))


def save(folder: Path, target: Target, data: bytes) -> Path:
    """Write an input under a name made of its bytes."""
    path = folder / target.name / blake2b(data, digest_size=8).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def run(target: Target, *, start: int, seconds: float, folder: Path) -> Tally:
    """Give a target inputs from the seed `start` on, for so many seconds."""
    tally = Tally()
    end = time.monotonic() + seconds
    seed = start
    with bounded():
        while time.monotonic() < end and len(tally.findings) < FINDINGS_MAX:
            # Drawn before, because what is traced takes much longer.
            drawn = [(seed + number, seeded(target, seed + number)) for number in range(DRAWN_AT_ONCE)]
            with traced():
                for of, data in drawn:
                    signal.setitimer(signal.ITIMER_VIRTUAL, HANG_SECONDS)
                    take(target, tally, f"seed {of}", data, folder=folder)
            seed += DRAWN_AT_ONCE
    return tally


@contextmanager
def bounded() -> Iterator[None]:
    """Break off what hangs, and refuse memory without end. For the main thread of a POSIX process."""

    def hang(_number: int, _frame: FrameType | None) -> None:
        raise Hang(f"more than {HANG_SECONDS} s of CPU")

    before = signal.signal(signal.SIGVTALRM, hang)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY_ABOVE_BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _address_space() -> int:
    if sys.platform != "linux":
        return MEMORY_ABOVE_BYTES
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
