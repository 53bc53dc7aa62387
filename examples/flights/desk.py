"""An airport's desk: one device of the space, in a process of its own, that does what it is asked.

A desk's clock shows the time of the data: what happened at nine in the morning of 3 March 2013 is stamped so, and the
logs of the desks, made apart, interleave in the order in which things happened.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, assert_never

from examples.flights.app import app
from examples.flights.data import Flight
from examples.flights.expected import CarrierRow, DayRow, FlightRow, Tables
from examples.flights.history import Entry, entries, history

from driftlog import DriftlogError, Space

SYNC_SECONDS_MAX: Final = 3_600
"""A desk that is not done by then is stuck, and the run fails instead of waiting for ever."""


@dataclass(frozen=True, slots=True)
class Record:
    """Enter everything that happened before this moment."""

    before_ms: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """Connect to the relay, exchange everything, and hang up."""

    url: str


@dataclass(frozen=True, slots=True)
class Report:
    """Say what the tables hold."""


@dataclass(frozen=True, slots=True)
class Close:
    """Let go of the file, and end."""


Ask = Record | Exchange | Report | Close


@dataclass(frozen=True, slots=True)
class Opened:
    """The space is there."""

    link: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """Events were appended."""

    events: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Exchanged:
    """Envelopes went out and came in."""

    seconds: float
    bytes_sent: int
    bytes_received: int


@dataclass(frozen=True, slots=True)
class Reported:
    """What the desk holds in the end."""

    tables: Tables
    digest: bytes
    events: int
    """Those of the app."""
    rejected: int
    pending: int
    unrecorded: int


Answer = Opened | Recorded | Exchanged | Reported | DriftlogError


class DataClock:
    """A clock that shows what it was last told."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """Give milliseconds since 1970."""
        return self.now_ms


def serve(pipe: Connection, path: Path, link: str | None, flights: Sequence[Flight], begin_ms: int) -> None:
    """Run a desk: the process's main function. Without a link it founds the space, with one it joins."""
    clock = DataClock(begin_ms)
    try:
        with app.open(path, clock=clock) if link is None else app.join(path, link, clock=clock) as space:
            pipe.send(Opened(space.invite()))
            diary = deque(entries(history(flights)))
            while not isinstance(ask := pipe.recv(), Close):
                pipe.send(_answer(space, clock, diary, ask))
    except DriftlogError as error:
        pipe.send(error)
    except (EOFError, KeyboardInterrupt):
        pass  # the parent is gone or is ending us; the log holds whatever `append` returned for


def _answer(space: Space, clock: DataClock, diary: deque[Entry], ask: Record | Exchange | Report) -> Answer:
    match ask:
        case Record(before_ms):
            return _record(space, clock, diary, before_ms)
        case Exchange(url):
            return _exchange(space, url)
        case Report():
            return _report(space, len(diary))
        case _:
            assert_never(ask)


def _record(space: Space, clock: DataClock, diary: deque[Entry], before_ms: int) -> Recorded:
    events = 0
    begun = time.perf_counter()
    while diary and diary[0].at_ms < before_ms:
        entry = diary.popleft()
        clock.now_ms = entry.at_ms
        space.append(*entry.events)
        events += len(entry.events)
    seconds = time.perf_counter() - begun
    clock.now_ms = before_ms
    return Recorded(events, seconds)


def _exchange(space: Space, url: str) -> Exchanged:
    begun = time.perf_counter()
    sync = space.sync(url)
    if not sync.wait(SYNC_SECONDS_MAX):
        raise DriftlogError(f"not synced with {url} after {SYNC_SECONDS_MAX} s: {sync!r}; look at the relay's log")
    state = sync.states()[url]
    sync.stop()
    return Exchanged(time.perf_counter() - begun, state.bytes_sent, state.bytes_received)


def _report(space: Space, unrecorded: int) -> Reported:
    tables = Tables(
        [FlightRow(*row) for row in space.query("SELECT * FROM flight ORDER BY id")],
        [DayRow(*row) for row in space.query("SELECT * FROM airport_day ORDER BY airport, date")],
        [CarrierRow(*row) for row in space.query("SELECT * FROM carrier ORDER BY carrier")],
    )
    status = space.status()
    # Driftlog's own, such as what a desk states about its tables, are in the log too.
    events = sum(not entry.name.startswith("driftlog.") for entry in space.log())
    return Reported(tables, space.digest(), events, status.rejected, status.pending, unrecorded)
