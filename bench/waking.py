"""How soon a live query of an idle process is told of an append of another one: from the call of `append` to the callback.

The floor is the append itself, in the same process and round. Both processes read one clock, the system's monotonic one, and
nothing is appended before the callback for the last append has come.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from bench import sample
from bench.rounds import Figure, compare
from driftlog import Answer

TURNS: Final = 4
APPENDS: Final = 250
"""A turn: the 99th percentile is the third longest wait."""
PAUSE_SECONDS: Final = 0.005
"""Between a callback and the next append, so that the other process is idle again."""
SECONDS_MAX: Final = 0.001


def measure(directory: Path) -> Iterator[Figure]:
    """Append in this process, and wait for the other's callback, about 20 seconds."""
    for durability in ("relaxed", "full"):
        for percent in (50, 99):
            yield _figure(directory, durability, percent)


def _figure(directory: Path, durability: Literal["relaxed", "full"], percent: int) -> Figure:
    path = directory / f"{durability}-{percent}.db"
    with sample.app.open(path, durability=durability) as space:
        command = [sys.executable, "-m", "bench.waking", os.fspath(path)]
        # Of this module, on a file of this run.
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
            assert process.stdin is not None
            told = process.stdout
            assert told is not None
            told.readline()
            appended = 0

            def waits() -> tuple[list[int], list[int]]:
                nonlocal appended
                whole, alone = [], []
                for _ in range(APPENDS):
                    time.sleep(PAUSE_SECONDS)
                    begun = time.monotonic_ns()
                    space.append(sample.event(appended))
                    alone.append(time.monotonic_ns() - begun)
                    appended += 1
                    while True:
                        count, at = map(int, told.readline().split())
                        if count == appended:
                            break
                    whole.append(at - begun)
                return sorted(whole), sorted(alone)

            def rate(nanoseconds: list[int]) -> float:
                return 1e9 / nanoseconds[len(nanoseconds) * percent // 100]

            figure = compare(
                f"append to callback in an idle process, {durability}: {percent} % within",
                lambda: rate(waits()[0]),
                lambda: rate(waits()[1]),
                turns=TURNS,
                floor_is="the append alone",
            )
            process.communicate("over\n")
    if percent == 50:
        is_met = 1 / figure.ours.median <= SECONDS_MAX
        return replace(figure, goal=f"≤ {SECONDS_MAX * 1000:.0f} ms", is_goal_met=is_met)
    return figure


def _other_process(path: str) -> None:
    """Be told until something is said on standard input."""

    def tell(answer: Answer) -> None:
        print(answer[0][0], time.monotonic_ns(), flush=True)

    with sample.app.open(path) as space, space.subscribe("SELECT count(*) FROM todo", tell):
        sys.stdin.readline()


if __name__ == "__main__":
    _other_process(sys.argv[1])
