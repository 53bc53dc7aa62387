"""Devices whose clocks the measurement sets, so that an event arrives exactly as late as it should.

Two kinds of events: rows of their own, which depend on nothing, and raises of one tally, each of which depends on all before
it. What comes from another device is sealed and opened beforehand: what is timed begins where the store does.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from bench import sample
from driftlog import App, Event, Space, VersionVector, ViewTransaction
from driftlog._core.batch import Batch
from driftlog._core.envelope import Envelope
from driftlog._core.event import place
from driftlog._core.limits import ENVELOPE_EVENTS_MAX
from driftlog._store.batches import Prepared, Received
from driftlog._store.fold import Arrival
from driftlog._store.store import Store
from driftlog.space.entries import prepare_events
from driftlog.space.files import key_path

BEGIN_MS: Final = 1_700_000_000_000

TALLY: Final = "CREATE TABLE tally (id TEXT PRIMARY KEY, total INTEGER NOT NULL) STRICT"
RAISE: Final = (
    "INSERT INTO tally (id, total) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET total = total + excluded.total"
)

app = App("org.example.bench-late", tables=f"{sample.TABLE};\n{TALLY}")


class TodoAdded(Event):
    """Makes a row of its own, as `bench/sample.py` does."""

    id: str
    text: str


class TallyRaised(Event):
    """Changes a row that others change."""

    id: str
    by: int


@app.on(TodoAdded)
def todo_added(tx: ViewTransaction, event: TodoAdded) -> None:
    """Insert the row."""
    tx.execute(sample.INSERT, (event.id, event.text))


@app.on(TallyRaised)
def tally_raised(tx: ViewTransaction, event: TallyRaised) -> None:
    """Raise the tally, from nothing if need be."""
    tx.execute(RAISE, (event.id, event.by))


Opened = tuple[Envelope, Batch]
MakeEvent = Callable[[], Event]

_ranges = count()


def unrelated(prefix: str | None = None) -> MakeEvent:
    """Give events of which no two touch one row: ids count up, in a range of their own for each call of this.

    What stays in a file from one run to another needs a prefix that says so: the ranges begin anew in every run.
    """
    numbers = count()
    if prefix is None:
        prefix = f"{next(_ranges):04}"
    return lambda: TodoAdded(id=f"{prefix}-{next(numbers):010}", text=sample.TEXT)


def related() -> MakeEvent:
    """Give events that all touch one row."""
    return lambda: TallyRaised(id="steps", by=1)


@dataclass(slots=True)
class Clock:
    """A clock that stands where it is set."""

    now_ms: int = BEGIN_MS

    def __call__(self) -> int:
        """Give milliseconds since 1970."""
        return self.now_ms


class Device:
    """A space in a file, relaxed: what is measured is what the engine does, and not what the disk does."""

    def __init__(self, space: Space, clock: Clock) -> None:
        self.space = space
        self.clock = clock

    @property
    def store(self) -> Store:
        """Go below the space's lock: there is one thread."""
        return self.space._engine._store

    def prepare(self, make: MakeEvent, events: int) -> list[Prepared]:
        """Check and encode events, as `Space.append` does before it takes the lock."""
        return prepare_events(self.space._engine.program, [make() for _ in range(events)])

    def fill(self, make: MakeEvent, events: int, *, at_ms: int) -> None:
        """Append events quickly, with stamps from `at_ms` on."""
        self.clock.now_ms = at_ms
        while events > 0:
            group = min(events, ENVELOPE_EVENTS_MAX)
            self.store.append_alone(self.prepare(make, group))
            events -= group

    def append_each(self, prepared: Sequence[Prepared]) -> int:
        """Append events in a transaction each."""
        for one in prepared:
            self.store.append_alone((one,))
        return len(prepared)

    def receive_each(self, opened: Sequence[Opened]) -> int:
        """Take envelopes in, in a transaction each."""
        for one in opened:
            self.receive([one])
        return len(opened)

    def receive(self, opened: Sequence[Opened]) -> Received:
        """Take envelopes in, in one transaction."""
        with self.store.transaction():
            return self.store.receive(opened)

    def take_in_each(self, arrivals: Sequence[Arrival]) -> int:
        """Take events in that come without envelopes, in a transaction each: the fold alone, beside the log."""
        for one in arrivals:
            with self.store.transaction():
                self.store._integrate([one])
        return len(arrivals)

    def open(self, raw: Sequence[bytes]) -> list[Opened]:
        """Verify and open envelopes."""
        return [self.space._engine.exchange.open(one) for one in raw]

    def arrivals(self, opened: Sequence[Opened]) -> list[Arrival]:
        """Give the events of envelopes, each with its place."""
        return [
            Arrival(place(envelope.header.space, envelope.header.device, record), record)
            for envelope, batch in opened
            for record in batch.records
        ]

    def seals_elsewhere(self, make: MakeEvent, at_ms: Sequence[int], *, per_envelope: int = 1) -> list[bytes]:
        """Let another device of the space make an event at each of these times, and give its envelopes."""
        clock = Clock()
        with app.join(":memory:", self.space.invite(), clock=clock) as other:
            for first in range(0, len(at_ms), per_envelope):
                for now_ms in at_ms[first : first + per_envelope]:
                    clock.now_ms = now_ms
                    other.append(make())
                other.seal()
            return list(other.envelopes_for(VersionVector()))


@contextmanager
def founded(path: Path) -> Iterator[Device]:
    """Found a space, or open the one at `path`."""
    clock = Clock()
    with app.open(path, durability="relaxed", clock=clock) as space:
        yield Device(space, clock)


def copied(path: Path, to: Path) -> Path:
    """Copy a closed space, key and all, as nobody should but for measuring one start several times."""
    shutil.copy(path, to)
    shutil.copy(key_path(path), key_path(to))
    return to


def cpu_rate_of(step: Callable[[], int]) -> float:
    """Do a step once, and give how much it did in a second of this process's own time, whatever else the machine does."""
    begin = time.process_time()
    done = step()
    return done / (time.process_time() - begin)
