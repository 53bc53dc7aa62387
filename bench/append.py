"""Appending: one event or a hundred in a transaction, relaxed and full durability, and several threads at once."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from bench import sample
from bench.floor import Floor
from bench.rounds import Figure, compare, rate_for
from driftlog import Space
from driftlog._sqlite.connection import Durability

TURNS: Final = 9
SLICE_SECONDS: Final = 0.25
"""Nine turns of two slices are 4.5 s; a slice is some thousand appends, and short beside the machine's moods."""

GROUP: Final = 100
THREADS: Final = (4, 16)

RATIO_MIN: Final[dict[tuple[Durability, int], float]] = {
    ("relaxed", 1): 0.38,
    ("relaxed", GROUP): 0.19,
    ("full", 1): 0.80,
    ("full", GROUP): 0.35,
}


def measure(directory: Path) -> Iterator[Figure]:
    """Measure all of it, about half a minute."""
    for (durability, group), ratio_min in RATIO_MIN.items():
        yield _one_thread(directory, durability, group, ratio_min)
    for threads in THREADS:
        yield _several_threads(directory, threads)


def _one_thread(directory: Path, durability: Durability, group: int, ratio_min: float) -> Figure:
    numbers = count()
    with _opened(directory, durability) as (space, floor):

        def append() -> int:
            space.append(*[sample.event(next(numbers)) for _ in range(group)])
            return group

        insert = floor.insert_one if group == 1 else lambda: floor.insert(group)
        return compare(
            f"append, {group} a transaction, {durability}",
            lambda: rate_for(SLICE_SECONDS, append),
            lambda: rate_for(SLICE_SECONDS, insert),
            turns=TURNS,
            ratio_min=ratio_min,
        )


def _several_threads(directory: Path, threads: int) -> Figure:
    """Group commit: what many threads append together, beside what one of them appends alone."""
    numbers = count()
    with _opened(directory, "full") as (space, _):
        return compare(
            f"append, 1 a call, full, {threads} threads",
            lambda: _rate_of_threads(space, numbers, threads),
            lambda: _rate_of_threads(space, numbers, 1),
            turns=TURNS,
            floor_is="one thread",
        )


def _rate_of_threads(space: Space, numbers: Iterator[int], threads: int) -> float:
    done = [0] * threads
    gate = threading.Barrier(threads + 1)

    def work(place: int) -> None:
        gate.wait()
        end = time.perf_counter() + SLICE_SECONDS
        while time.perf_counter() < end:
            space.append(sample.event(next(numbers)))
            done[place] += 1

    workers = [threading.Thread(target=work, args=(place,)) for place in range(threads)]
    for worker in workers:
        worker.start()
    gate.wait()
    begin = time.perf_counter()
    for worker in workers:
        worker.join()
    return sum(done) / (time.perf_counter() - begin)


@contextmanager
def _opened(directory: Path, durability: Durability) -> Iterator[tuple[Space, Floor]]:
    # Files of its own for each comparison: both sides begin empty, and grow at their own speed.
    place = directory / f"append-{len(list(directory.iterdir()))}"
    place.mkdir()
    floor = Floor(place / "floor.db", durability)
    try:
        with sample.app.open(place / "space.db", durability=durability) as space:
            yield space, floor
    finally:
        floor.close()
