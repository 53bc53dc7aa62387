"""Live queries: what a change costs while a thousand of them stand, how one over many rows follows, and what they hold.

The floor is the same write on the same kind of space without any live query; what matters is the time over it. Memory is
what a fresh process grows by, so all that SQLite holds is in it; it is read where Linux tells it.
"""

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Final

from bench import sample
from bench.rounds import Amount, Figure, compare, rate_for
from driftlog import Answer, App, Event, Space, ViewTransaction

TURNS: Final = 9
SLICE_SECONDS: Final = 0.2
QUERIES: Final = 1_000
ROWS: Final = 10_000
SUBSCRIPTIONS: Final = 10_000
ROUNDS: Final = 100_000

OVER_A_WRITE_MS_MAX: Final = 0.3
"""By a thousand live queries of which one is concerned."""
OVER_ROWS_MS_MAX: Final = 2.0
"""By one live query of ten thousand rows of which one is changed."""
HELD_MB_MAX: Final = 64.0
AFTERWARDS_MIN: Final = 0.95
"""Of an append's speed, once all live queries are closed: nothing is left, and turns differ by some percent."""

ONE: Final = "SELECT * FROM todo WHERE id = ?"
MANY: Final = "SELECT * FROM todo ORDER BY id"

app = App("org.example.bench.live", tables=sample.TABLE)


class Added(Event):
    """One event makes one row."""

    id: str
    text: str


class Renamed(Event):
    """One event changes one row."""

    id: str
    text: str


@app.on(Added)
def added(tx: ViewTransaction, event: Added) -> None:
    """Insert a row."""
    tx.execute(sample.INSERT, (event.id, event.text))


@app.on(Renamed)
def renamed(tx: ViewTransaction, event: Renamed) -> None:
    """Change a row."""
    tx.execute("UPDATE todo SET text = ? WHERE id = ?", (event.text, event.id))


def measure(directory: Path) -> Iterator[Figure | Amount]:
    """Measure all of it, about a minute and a half."""
    for where in ("in memory", "in a file"):
        yield from _one_of_a_thousand(directory, where)
        yield _one_row_of_many(directory, where, MANY, "ordered by its key")
        yield _one_row_of_many(
            directory, where, "SELECT * FROM todo ORDER BY text, id", "ordered by the changed column"
        )
        yield _one_row_of_many(directory, where, "SELECT * FROM todo", "in no stated order")
        yield _one_row_of_many(directory, where, "SELECT count(*) FROM todo WHERE text > 'b'", "counted")
        yield _afterwards(directory, where)
    yield _all_of_the_table(directory)
    yield _held()
    yield _left_behind()


def _one_of_a_thousand(directory: Path, where: str) -> Iterator[Figure | Amount]:
    told: list[int] = []
    with _opened(directory, where, QUERIES) as space, _opened(directory, where, QUERIES) as alone:
        _subscribe_to_each(space, told)
        told.clear()
        space.append(_renaming(0))
        yield Amount(f"callbacks, {QUERIES:,} live queries, one concerned, {where}", len(told), "", "= 1", told == [1])
        yield _over(
            f"change a row, {QUERIES:,} live queries, one concerned, {where}",
            space,
            alone,
            QUERIES,
            OVER_A_WRITE_MS_MAX,
        )


def _one_row_of_many(directory: Path, where: str, sql: str, how: str) -> Figure:
    with _opened(directory, where, ROWS) as space, _opened(directory, where, ROWS) as alone:
        space.subscribe(sql, _take)
        return _over(f"change a row, one live query of {ROWS:,}, {how}, {where}", space, alone, ROWS, OVER_ROWS_MS_MAX)


def _afterwards(directory: Path, where: str) -> Figure:
    with _opened(directory, where, 0) as space, _opened(directory, where, 0) as alone:
        for number in range(QUERIES):
            space.subscribe(ONE, _take, (sample.row(number)[0],)).close()
        mine, theirs = count(), count()
        return compare(
            f"append, {QUERIES:,} live queries closed, {where}",
            lambda: rate_for(SLICE_SECONDS, lambda: len(space.append(_adding(next(mine))))),
            lambda: rate_for(SLICE_SECONDS, lambda: len(alone.append(_adding(next(theirs))))),
            turns=TURNS,
            ratio_min=AFTERWARDS_MIN,
            floor_is="none ever made",
        )


def _all_of_the_table(directory: Path) -> Figure:
    """What it would cost to run each query of a table again whenever the table changed."""
    told: list[int] = []
    with _opened(directory, "in a file", QUERIES) as space, _opened(directory, "in a file", QUERIES) as alone:
        _subscribe_to_each(space, told)
        given = [(sample.row(number)[0],) for number in range(QUERIES)]
        answers = [alone.query(ONE, one) for one in given]
        mine, theirs = count(), count()

        def all_again() -> int:
            alone.append(_renaming(next(theirs) % QUERIES))
            for place, one in enumerate(given):
                answer = alone.query(ONE, one)
                if answer != answers[place]:
                    answers[place] = answer
            return 1

        return compare(
            f"change a row, {QUERIES:,} live queries, one concerned, in a file",
            lambda: rate_for(SLICE_SECONDS, lambda: len(space.append(_renaming(next(mine) % QUERIES)))),
            lambda: rate_for(SLICE_SECONDS, all_again),
            turns=TURNS,
            floor_is="all run again",
        )


def _over(work: str, space: Space, alone: Space, rows: int, over_ms_max: float) -> Figure:
    mine, theirs = count(), count()
    # A prime step, so that changed rows are all over the answer.
    figure = compare(
        work,
        lambda: rate_for(SLICE_SECONDS, lambda: len(space.append(_renaming(next(mine) * 7919 % rows)))),
        lambda: rate_for(SLICE_SECONDS, lambda: len(alone.append(_renaming(next(theirs) * 7919 % rows)))),
        turns=TURNS,
        floor_is="no live query",
    )
    over_ms = 1_000 / figure.ours.median - 1_000 / figure.floor.median
    return replace(figure, goal=f"{over_ms:.3f} ms over it, ≤ {over_ms_max:.1f}", is_goal_met=over_ms <= over_ms_max)


def _held() -> Amount:
    megabytes = _in_a_fresh_process("held")
    return Amount(
        f"memory, {SUBSCRIPTIONS:,} subscriptions to a row each",
        megabytes,
        "MB",
        f"≤ {HELD_MB_MAX:.0f}",
        megabytes <= HELD_MB_MAX,
    )


def _left_behind() -> Amount:
    objects = _in_a_fresh_process("left")
    return Amount(f"objects left by {ROUNDS:,} rounds of subscribe and close", objects, "", "= 0", objects == 0)


def _in_a_fresh_process(what: str) -> float:
    # Of this module.
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "bench.live", what], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def _print_held() -> None:
    told: list[int] = []
    with app.open(":memory:") as space:
        for number in range(SUBSCRIPTIONS):
            space.append(_adding(number))
        space.subscribe(ONE, _take, ("nobody",))
        gc.collect()
        before = _resident_bytes()
        _subscribe_to_each(space, told, SUBSCRIPTIONS)
        print((_resident_bytes() - before) / 1e6)


def _print_left() -> None:
    with app.open(":memory:") as space:

        def rounds(number: int) -> None:
            for place in range(number):
                space.subscribe(ONE, _take, (sample.row(place)[0],)).close()

        # The first rounds fill what is kept by the text of a query, and Python's own caches.
        rounds(1_000)
        gc.collect()
        before = len(gc.get_objects())
        rounds(ROUNDS)
        gc.collect()
        print(len(gc.get_objects()) - before)


def _resident_bytes() -> int:
    """Read what this process has in memory. Not the peak, which a process inherits from whoever started it."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _subscribe_to_each(space: Space, told: list[int], queries: int = QUERIES) -> None:
    for number in range(queries):
        space.subscribe(ONE, _teller(told), (sample.row(number)[0],))


def _teller(told: list[int]) -> Callable[[Answer], object]:
    """Make a callback of its own for a subscription, as an app has."""
    return lambda answer: told.append(len(answer))


def _take(answer: Answer) -> None:
    """Look at the first row, as a list on a screen looks at those that it shows."""
    if answer:
        answer[0]


def _adding(number: int) -> Added:
    return Added(*sample.row(number))


_files = count()
_texts = count()


def _renaming(number: int) -> Renamed:
    # Scattered, so that a list that is ordered by the text moves its row.
    return Renamed(sample.row(number)[0], f"{next(_texts) * 48_271 % 65_521:05} {sample.TEXT}")


@contextmanager
def _opened(directory: Path, where: str, rows: int) -> Iterator[Space]:
    path = ":memory:" if where == "in memory" else directory / f"live-{next(_files)}.db"
    with app.open(path, durability="relaxed") as space:
        for first in range(0, rows, 1_000):
            space.append(*[_adding(number) for number in range(first, min(first + 1_000, rows))])
        yield space


if __name__ == "__main__":
    {"held": _print_held, "left": _print_left}[sys.argv[1]]()
