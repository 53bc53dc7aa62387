"""A log of a million events: how long the file takes to open, and whether an append notices what came before.

None of them is in an envelope yet, which is the worst case for the first transaction: it looks for the device's last event
among those after the last envelope.

The file is made by appending, half a minute of it, and kept among the system's temporary files for the next run: named by
what it depends on, so that a run with another format or sample makes its own.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Final

from bench.devices import BEGIN_MS, TALLY, Device, copied, cpu_rate_of, founded, unrelated
from bench.rounds import Figure, compare, rate_of
from bench.sample import TABLE
from driftlog._store.schema import CREATE

EVENTS: Final = 1_000_000
AFTER_MS: Final = BEGIN_MS + 1_000_000
TURNS: Final = 9
APPENDS: Final = 500

OPEN_SECONDS_MAX: Final = 0.5
APPEND_RATIO_MIN: Final = 0.9
"""The tables' trees are two levels deeper than empty ones; more than a tenth would be something else."""


def measure(directory: Path) -> Iterator[Figure]:
    """Measure both, some seconds once the file is there."""
    large = copied(_kept(), directory / "large.db")
    empty = directory / "empty.db"
    with founded(empty):
        pass
    yield from _opening(large, empty)
    yield _appending(large, empty)


def _opening(large: Path, empty: Path) -> Iterator[Figure]:
    """Open the file and read a row, or write one. It lies in the system's cache: from a cold disk it takes longer."""

    def read(device: Device) -> None:
        device.space.query("SELECT id FROM todo LIMIT 1")

    make = unrelated()

    def write(device: Device) -> None:
        device.fill(make, 1, at_ms=AFTER_MS)

    for what, use in (("and read a row", read), ("and append", write)):

        def opened(path: Path, use: Callable[[Device], None] = use) -> float:
            def open_() -> int:
                with founded(path) as device:
                    use(device)
                return 1

            return rate_of(open_)

        figure = compare(
            f"open a file of {EVENTS:,} events {what}",
            partial(opened, large),
            partial(opened, empty),
            turns=TURNS,
            floor_is="an empty one",
        )
        seconds = 1 / figure.ours.median
        yield replace(figure, goal=f"≤ {OPEN_SECONDS_MAX} s", is_goal_met=seconds <= OPEN_SECONDS_MAX)


def _appending(large: Path, empty: Path) -> Figure:
    makes = {large: unrelated(), empty: unrelated()}
    with founded(large) as many, founded(empty) as none:

        def append(device: Device, path: Path) -> float:
            device.clock.now_ms = AFTER_MS
            prepared = device.prepare(makes[path], APPENDS)
            return cpu_rate_of(lambda: device.append_each(prepared))

        return compare(
            f"append, 1 a transaction, after {EVENTS:,} events",
            lambda: append(many, large),
            lambda: append(none, empty),
            turns=TURNS,
            floor_is="after none",
            ratio_min=APPEND_RATIO_MIN,
        )


def _kept() -> Path:
    """Give the large file, made now if no run before has made it."""
    facts = blake2b(f"kept {EVENTS} {CREATE} {TABLE} {TALLY}".encode(), digest_size=8).hexdigest()
    kept = Path(tempfile.gettempdir()) / f"driftlog-bench-{facts}"
    if not kept.exists():
        made = Path(tempfile.mkdtemp(prefix=kept.name))
        with founded(made / "space.db") as device:
            device.fill(unrelated("kept"), EVENTS, at_ms=BEGIN_MS)
        # In one step: a run that is stopped leaves no half a file to the next one.
        made.rename(kept)
    return kept / "space.db"
