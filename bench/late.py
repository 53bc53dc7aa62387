"""Late events: what it costs to take in what belongs further back, beside appending as much.

Times are this process's own (`process_time`), without the disk's, and so not those of a person who waits: with a sync for
each transaction, all that is compared here would look alike.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Final

from bench.devices import (
    BEGIN_MS,
    Device,
    MakeEvent,
    copied,
    cpu_rate_of,
    founded,
    related,
    unrelated,
)
from bench.floor import LogFloor
from bench.rounds import Figure, compare
from driftlog._core.merge import Way
from driftlog._store.tail import TAIL_EVENTS_MAX

DEPTHS: Final = (10, 1_000, 10_000, 100_000)
DEPTH_WITH_ENVELOPES: Final = 1_000
DEPTHS_RELATED: Final = (1_000, 10_000)
DEPTHS_FIRST: Final = (10_000, 100_000)
OFFLINE: Final = 1_000

TURNS: Final = 7
SLICE: Final = 200
"""Late events a turn. Between two turns the log grows by as many as are appended beside them."""

REFILLED_MAX: Final = 1_000
"""Up to this depth the later events are appended anew for each turn, because what the other side of a comparison adds would
be most of them. Beyond, it is a few hundredths."""

ROUND_MS: Final = 1_000_000
"""Each turn of each side lies this much after the one before, and all of them within the day in which nothing is held."""

APPENDS_MAX: Final = 1.2
RELATED_MICROS_MAX: Final = 12
MERGED_MICROS_MAX: Final = 20


def measure(directory: Path) -> Iterator[Figure]:
    """Measure all of it, about a minute."""
    for depth in DEPTHS:
        yield from _one_late(directory, depth)
    yield _rows_alone(directory)
    for depth in DEPTHS_FIRST:
        yield _first_late(directory, depth)
    for depth in DEPTHS_RELATED:
        yield _all_depend(directory, depth)
    yield _some_depend(directory)
    yield _merge(directory, "unrelated", unrelated, Way.IN_PLACE, MERGED_MICROS_MAX)
    yield _merge(directory, "all related", related, Way.REWOUND, None)


# --- one event ------------------------------------------------------------------------------------------------------------


def _one_late(directory: Path, depth: int) -> Iterator[Figure]:
    with founded(_new(directory)) as device:
        turns = _Turns(device, depth)
        yield _within_appends(
            compare(
                f"late event, {depth:,} later, without its envelope",
                lambda: turns.late(are_events_alone=True),
                turns.append,
                turns=TURNS,
                floor_is="append",
            ),
            APPENDS_MAX,
        )
        yield _within_appends(
            compare(
                f"late envelope of 1, {depth:,} later, opened before",
                turns.late,
                turns.newest,
                turns=TURNS,
                floor_is="the same, newest",
            ),
            APPENDS_MAX,
        )
        if depth == DEPTH_WITH_ENVELOPES:
            yield compare(
                "newest envelope of 1, opened before", turns.newest, turns.append, turns=TURNS, floor_is="append"
            )
            yield compare(
                f"late envelope of 1, {depth:,} later, opened before",
                turns.late,
                turns.append,
                turns=TURNS,
                floor_is="append",
            )
            yield compare(
                f"late envelope of 1, {depth:,} later, as bytes",
                lambda: turns.late(are_opened=False),
                turns.append,
                turns=TURNS,
                floor_is="append",
            )


def _rows_alone(directory: Path) -> Figure:
    """The rows of a late event without an engine: what SQLite's trees ask for a place in their middle."""
    floor = LogFloor(_new(directory))
    begins = count(0, ROUND_MS)

    def late() -> float:
        begin = next(begins)
        floor.insert(range(begin + ROUND_MS // 2, begin + ROUND_MS // 2 + DEPTH_WITH_ENVELOPES), "own")
        return cpu_rate_of(lambda: floor.insert_each(range(begin, begin + SLICE), "late"))

    def append() -> float:
        begin = next(begins)
        return cpu_rate_of(lambda: floor.insert_each(range(begin, begin + SLICE), "own"))

    figure = compare(
        f"the rows of a late event, {DEPTH_WITH_ENVELOPES:,} later, by plain SQLite",
        late,
        append,
        turns=TURNS,
        floor_is="plain SQLite, of the newest",
    )
    floor.close()
    return figure


class _Turns:
    """Slices of work on one device, each in a later piece of time, so that all may alternate in any order."""

    def __init__(self, device: Device, depth: int) -> None:
        self._device = device
        self._depth = depth
        self._is_refilled = depth <= REFILLED_MAX
        self._begins = (BEGIN_MS + number * ROUND_MS for number in count(1))
        self._late, self._newest, self._own = unrelated(), unrelated(), unrelated()
        if not self._is_refilled:
            self._early_ms = BEGIN_MS
            device.fill(self._own, depth, at_ms=BEGIN_MS + ROUND_MS // 2)

    def late(self, *, are_events_alone: bool = False, are_opened: bool = True) -> float:
        """Take in a slice of events, each with `depth` later ones."""
        device = self._device
        begin_ms = next(self._begins) if self._is_refilled else self._early_ms
        raw = device.seals_elsewhere(self._late, range(begin_ms, begin_ms + SLICE))
        if self._is_refilled:
            device.fill(self._own, self._depth, at_ms=begin_ms + ROUND_MS // 2)
        else:
            self._early_ms += SLICE
        opened = device.open(raw)
        if not are_opened:
            return cpu_rate_of(lambda: sum(device.space.receive([one]).applied for one in raw))
        if are_events_alone:
            arrivals = device.arrivals(opened)
            return cpu_rate_of(lambda: device.take_in_each(arrivals))
        return cpu_rate_of(lambda: device.receive_each(opened))

    def newest(self) -> float:
        """Take in a slice of events that lie after all others."""
        begin_ms = next(self._begins)
        opened = self._device.open(self._device.seals_elsewhere(self._newest, range(begin_ms, begin_ms + SLICE)))
        return cpu_rate_of(lambda: self._device.receive_each(opened))

    def append(self) -> float:
        """Append a slice of events."""
        device = self._device
        device.clock.now_ms = next(self._begins)
        prepared = device.prepare(self._own, SLICE)
        return cpu_rate_of(lambda: device.append_each(prepared))


def _first_late(directory: Path, depth: int) -> Figure:
    """What is remembered of the later events is gathered when the first late one asks for it."""
    assert depth <= TAIL_EVENTS_MAX
    with founded(_new(directory)) as device:
        device.fill(unrelated(), depth, at_ms=BEGIN_MS + ROUND_MS)
        make, clock_ms = unrelated(), count(BEGIN_MS)

        def first_late() -> float:
            arrivals = device.arrivals(device.open(device.seals_elsewhere(make, [next(clock_ms)])))
            device.store._fold.tail.forget()
            return depth * cpu_rate_of(lambda: device.take_in_each(arrivals))

        with founded(_new(directory)) as other:
            return compare(
                f"first late event, {depth:,} later: a later event",
                first_late,
                lambda: _append_group(other, unrelated()),
                turns=TURNS,
                floor_is="append, 1,000 a transaction",
            )


# --- events that depend on it -----------------------------------------------------------------------------------------


def _all_depend(directory: Path, depth: int) -> Figure:
    with founded(_new(directory)) as device, founded(_new(directory)) as other:
        device.fill(related(), depth, at_ms=BEGIN_MS)
        device.fill(related(), depth, at_ms=BEGIN_MS + 2 * ROUND_MS)
        return _within_micros(
            _undoing(f"late event, {depth:,} later that depend on it: one of these", device, other, Way.REWOUND),
            RELATED_MICROS_MAX,
        )


def _some_depend(directory: Path) -> Figure:
    depending, depth = 1_000, 10_000
    with founded(_new(directory)) as device, founded(_new(directory)) as other:
        make = unrelated()
        device.fill(related(), depending, at_ms=BEGIN_MS)
        for part in range(depending):
            at_ms = BEGIN_MS + 2 * ROUND_MS + part * 10
            device.fill(related(), 1, at_ms=at_ms)
            device.fill(make, depth // depending - 1, at_ms=at_ms)
        return _within_micros(
            _undoing(
                f"late event, {depth:,} later, {depending:,} that depend on it: one of these",
                device,
                other,
                Way.CLOSURE,
            ),
            RELATED_MICROS_MAX,
        )


def _undoing(work: str, device: Device, other: Device, way: Way) -> Figure:
    """Measure late events one by one; `other` is a device that appends beside."""
    raise_tally, clock_ms = related(), count(BEGIN_MS + ROUND_MS)

    def late() -> float:
        opened = device.open(device.seals_elsewhere(raise_tally, [next(clock_ms)]))

        def receive() -> int:
            received = device.receive(opened)
            assert received.way is way, received
            return received.replayed

        return cpu_rate_of(receive)

    return compare(
        work, late, lambda: _append_group(other, raise_tally), turns=TURNS, floor_is="append, 1,000 a transaction"
    )


# --- a thousand with a thousand -----------------------------------------------------------------------------------------


def _merge(directory: Path, kind: str, kind_of: Callable[[], MakeEvent], way: Way, micros_max: float | None) -> Figure:
    """Two devices were offline: each made as many events, in turns, after as many that both have."""
    start = _new(directory)
    with founded(start) as device:
        mine, theirs = kind_of(), kind_of()
        device.fill(mine, OFFLINE, at_ms=BEGIN_MS)
        for number in range(OFFLINE):
            device.fill(mine, 1, at_ms=BEGIN_MS + ROUND_MS + 2 * number)
        their_ms = range(BEGIN_MS + ROUND_MS - 1, BEGIN_MS + ROUND_MS + 2 * OFFLINE - 1, 2)
        opened = device.open(device.seals_elsewhere(theirs, their_ms, per_envelope=OFFLINE))

    def merge() -> float:
        with founded(copied(start, _new(directory))) as device:

            def receive() -> int:
                received = device.receive(opened)
                assert (received.way, received.applied) == (way, OFFLINE), received
                return received.applied

            return cpu_rate_of(receive)

    with founded(_new(directory)) as other:
        figure = compare(
            f"merge {OFFLINE:,} late events with {OFFLINE:,}, {kind}",
            merge,
            lambda: _append_group(other, mine),
            turns=TURNS,
            floor_is="append, 1,000 a transaction",
        )
    return figure if micros_max is None else _within_micros(figure, micros_max)


# --- what is common -----------------------------------------------------------------------------------------------------


def _append_group(device: Device, make: MakeEvent) -> float:
    prepared = device.prepare(make, OFFLINE)
    return cpu_rate_of(lambda: len(device.store.append_alone(prepared)))


def _within_appends(figure: Figure, appends_max: float) -> Figure:
    """Set the goal as a multiple of what is beside: the ratio's inverse."""
    is_met = figure.ratio.median >= 1 / appends_max
    return replace(figure, goal=f"≥ {1 / appends_max:.2f} of it", is_goal_met=is_met)


def _within_micros(figure: Figure, micros_max: float) -> Figure:
    is_met = 1e6 / figure.ours.median <= micros_max
    return replace(figure, goal=f"≤ {micros_max:.0f} µs each", is_goal_met=is_met)


_numbers = count()


def _new(directory: Path) -> Path:
    return directory / f"late-{next(_numbers)}.db"
