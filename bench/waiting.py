"""How long an append waits behind a long catch-up: of another thread, and of another process with the same file open.

The floor is the longest wait of as many appends while nothing arrives. Longest waits are what a person feels, and they are
noisy: a machine that gives its cores to others for 30 ms shows here.

Python's collector goes over all that a process holds, imported modules included, and everybody waits meanwhile. So the
thread's wait is measured twice, once with what was there before frozen (`gc.freeze`), as an app may do when it has started.
"""

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from threading import Event as Signal
from threading import Thread
from typing import Final

from bench import sample
from bench.rounds import Figure, compare
from driftlog import Space

TURNS: Final = 4
ARRIVING: Final = 50_000
PER_ENVELOPE: Final = 100
WAIT_SECONDS_MAX: Final = 0.05
PAUSE_SECONDS: Final = 0.005
"""Between two appends: somebody who types is slower."""


def measure(directory: Path) -> Iterator[Figure]:
    """Append while 50,000 events arrive, about half a minute."""
    yield _figure(directory, "another thread", _longest_wait_in_a_thread)
    yield _figure(directory, "another thread, after gc.freeze()", _longest_wait_after_freezing)
    yield _figure(directory, "another process", _longest_wait_in_a_process)


Work = Callable[[], object]


def _figure(directory: Path, whose: str, longest_wait: Callable[[Space, Path, Work], float]) -> Figure:
    invite, envelopes = sample.sealed_by_another_device(ARRIVING, per_envelope=PER_ENVELOPE)

    def wait_during(work: Callable[[Space], object]) -> float:
        path = directory / f"{next(_numbers)}.db"
        with sample.app.join(path, invite, durability="relaxed") as space:
            return 1 / longest_wait(space, path, lambda: work(space))

    figure = compare(
        f"append from {whose} while {ARRIVING:,} events arrive: its longest wait",
        lambda: wait_during(lambda space: space.receive(envelopes)),
        lambda: wait_during(lambda _: time.sleep(1)),
        turns=TURNS,
        floor_is="nothing arrives",
    )
    return replace(
        figure,
        goal=f"≤ {WAIT_SECONDS_MAX * 1000:.0f} ms",
        is_goal_met=1 / figure.ours.median <= WAIT_SECONDS_MAX,
    )


_numbers = count()


def _longest_wait_in_a_thread(space: Space, _: Path, work: Work) -> float:
    is_over = Signal()
    waits: list[float] = []
    appending = Thread(target=lambda: waits.extend(_waits(space, is_over.is_set)))
    appending.start()
    work()
    is_over.set()
    appending.join()
    return max(waits)


def _longest_wait_after_freezing(space: Space, path: Path, work: Work) -> float:
    gc.collect()
    gc.freeze()
    try:
        return _longest_wait_in_a_thread(space, path, work)
    finally:
        gc.unfreeze()


def _longest_wait_in_a_process(_space: Space, path: Path, work: Work) -> float:
    command = [sys.executable, "-m", "bench.waiting", os.fspath(path)]
    # Of this module, on a file of this run.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        work()
        answer, _ = process.communicate("over\n")
    return float(answer)


def _waits(space: Space, is_over: Callable[[], bool]) -> Iterator[float]:
    for number in count():
        begun = time.perf_counter()
        space.append(sample.event(10_000_000 + number))
        yield time.perf_counter() - begun
        if is_over():
            return
        time.sleep(PAUSE_SECONDS)


def _other_process(path: str) -> None:
    """Append until something is said on standard input, then print the longest wait."""
    is_over = Signal()
    with sample.app.open(path, durability="relaxed") as space:
        space.append(sample.event(20_000_000))
        print("appending", flush=True)

        def listen() -> None:
            sys.stdin.readline()
            is_over.set()

        listening = Thread(target=listen)
        listening.start()
        print(max(_waits(space, is_over.is_set)), flush=True)
        listening.join()


if __name__ == "__main__":
    _other_process(sys.argv[1])
