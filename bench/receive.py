"""A new device: verify, open and apply what another device sealed. And the view made anew from the log.

The floor for both is the same number of rows inserted in one transaction into an empty table.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Final

from bench import sample
from bench.floor import Floor
from bench.rounds import Figure, compare, rate_of

TURNS: Final = 4
REBUILT: Final = 50_000

CASES: Final = ((10_000, 1), (10_000, 100), (50_000, 100), (50_000, 1_000))
"""Events, and how many to an envelope: one by one, as they are made online; by the thousand, as made offline."""

SECONDS_MAX: Final[dict[tuple[int, int], float]] = {(50_000, 100): 1.0, (50_000, 1_000): 1.0}
"""A person who joins a team waits this long and no longer."""

REBUILD_MICROS_MAX: Final = 6.0


def measure_receiving(directory: Path) -> Iterator[Figure]:
    """Receive on a new device, about half a minute."""
    for events, per_envelope in CASES:
        yield _receive(directory, events, per_envelope)


def measure_rebuilding(directory: Path) -> Iterator[Figure]:
    """Make a view of 50,000 events anew, about ten seconds."""
    with sample.app.open(_new(directory)) as space:
        for first in range(0, REBUILT, 1_000):
            space.append(*map(sample.event, range(first, first + 1_000)))
        figure = compare(
            f"rebuild the view, {REBUILT:,} events",
            lambda: rate_of(space.rebuild),
            lambda: _insert_all(directory, REBUILT),
            turns=TURNS,
        )
    micros = 1e6 / figure.ours.median
    yield replace(figure, goal=f"≤ {REBUILD_MICROS_MAX:.0f} µs an event", is_goal_met=micros <= REBUILD_MICROS_MAX)


def _receive(directory: Path, events: int, per_envelope: int) -> Figure:
    invite, envelopes = sample.sealed_by_another_device(events, per_envelope=per_envelope)

    def receive() -> float:
        with sample.app.join(_new(directory), invite) as space:
            rate = rate_of(lambda: space.receive(envelopes).applied)
            assert space.query("SELECT count(*) AS rows FROM todo")[0].rows == events
        return rate

    figure = compare(
        f"new device, {events:,} events in envelopes of {per_envelope:,}",
        receive,
        lambda: _insert_all(directory, events),
        turns=TURNS,
    )
    seconds_max = SECONDS_MAX.get((events, per_envelope))
    if seconds_max is None:
        return figure
    seconds = events / figure.ours.median
    return replace(figure, goal=f"≤ {seconds_max:.0f} s in all", is_goal_met=seconds <= seconds_max)


def _insert_all(directory: Path, rows: int) -> float:
    floor = Floor(_new(directory), "full")
    try:
        return rate_of(lambda: floor.insert(rows))
    finally:
        floor.close()


_numbers = count()


def _new(directory: Path) -> Path:
    return directory / f"receive-{next(_numbers)}.db"
