"""One device on a simulated disk, others in memory, and notes of what was acknowledged when: what scenarios are told in."""

import random
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from driftlog import App, Event, Space, Timestamp
from driftlog._sqlite.connection import Durability
from driftlog.space.status import LogEntry
from driftlog.testing.disk import Journal, SimulatedDisk
from tests.todo_app import TABLES, Clock, TodoAdded, todo_app

MEMORY = Path("/dev/shm")  # noqa: S108 - a disk in memory where there is one; only its speed matters
NAME = "todos.db"
LOCAL_TABLES = "CREATE TABLE draft (id TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT"


@dataclass(frozen=True)
class Founded:
    """`app.open` or `app.join` has returned for the first time."""

    link: str
    device: bytes


@dataclass(frozen=True)
class Appended:
    """`append` has returned these."""

    timestamps: tuple[Timestamp, ...]


@dataclass(frozen=True)
class Received:
    """`receive` has returned, or a relay's envelopes were applied up to a cursor."""

    envelopes: tuple[bytes, ...]


@dataclass(frozen=True)
class Given:
    """Another device holds these envelopes, which come from this one."""

    envelopes: tuple[bytes, ...]


@dataclass(frozen=True)
class Kept:
    """A row of the local table `draft` has been written."""

    id: str
    text: str


@dataclass(frozen=True)
class Confirmed:
    """This device has been told that a relay holds so many of its envelopes."""

    batch_seq: int


@dataclass(frozen=True)
class Begun:
    """`append` was called for so many events, which are one step of a user's."""

    events: int


@dataclass(frozen=True)
class Acting:
    """`run_effects` is called."""


@dataclass(frozen=True)
class Done:
    """An effect has been performed for an event, in the world outside."""

    at: Timestamp


@dataclass(frozen=True)
class DoneWith:
    """`run_effects` has returned: none of what was done before may be done again."""


Note = Acting | Begun | Done | DoneWith | Founded | Appended | Received | Given | Kept | Confirmed


def device_app(tables: str = TABLES) -> App:
    """The todo app with a local table, and with other tables where given."""
    plain = todo_app()
    app = App(plain.name, tables=tables, local_tables=LOCAL_TABLES)
    app._materializers.update(plain._materializers)
    return app


def acting_app(act: Callable[[LogEntry], None]) -> App:
    """The same with an effect for each todo that is added."""
    app = device_app()

    @app.effect(TodoAdded)
    def acts(space: Space, entry: LogEntry) -> None:
        assert isinstance(entry.event, TodoAdded)
        # The world outside is a table that no rebuild touches, so that a power cut leaves it as it was at that moment.
        space.execute_local("INSERT OR REPLACE INTO draft VALUES (?, 'acted')", (entry.event.id,))
        act(entry)

    return app


@dataclass
class World:
    """What a scenario works with."""

    disk: SimulatedDisk
    app: App
    rng: random.Random
    clock: Clock = field(default_factory=Clock)

    @classmethod
    def seeded(cls, disk: SimulatedDisk, seed: str = "") -> "World":
        """Begin on an empty disk, with chance that can be had again."""
        return cls(disk, device_app(), random.Random(seed))

    @property
    def path(self) -> Path:
        return self.disk.directory / NAME

    @contextmanager
    def opened(self, app: App | None = None, durability: Durability = "full") -> Iterator[Space]:
        """Open the device's file, or found it."""
        opened = (app or self.app).open(
            self.path, durability=durability, clock=self.clock, entropy=self.rng.randbytes, vfs=self.disk.vfs
        )
        with opened as space:
            self.disk.mark(Founded(space.invite(), space.device))
            yield space

    def joined(self, link: str) -> Space:
        """Make the device's file by joining."""
        space = self.app.join(self.path, link, clock=self.clock, entropy=self.rng.randbytes, vfs=self.disk.vfs)
        self.disk.mark(Founded(link, space.device))
        return space

    def other(self, space: Space, now_ms: int | None = None) -> Space:
        """Another device of the space, in memory."""
        clock = Clock(self.clock.now_ms if now_ms is None else now_ms)
        return self.app.join(":memory:", space.invite(), clock=clock, entropy=self.rng.randbytes)

    def append(self, space: Space, *events: Event) -> tuple[Timestamp, ...]:
        self.disk.mark(Begun(len(events)))
        timestamps = space.append(*events)
        self.disk.mark(Appended(timestamps))
        return timestamps

    def note_appended(self, timestamps: Iterable[Timestamp | None]) -> None:
        self.disk.mark(Appended(tuple(at for at in timestamps if at is not None)))

    def give(self, space: Space, other: Space) -> None:
        """Give another device all that it lacks."""
        envelopes = tuple(space.envelopes_for(other.version_vector()))
        other.receive(envelopes)
        self.disk.mark(Given(envelopes))

    def take(self, space: Space, other: Space) -> None:
        """Take in all that another device has."""
        envelopes = tuple(other.envelopes_for(space.version_vector()))
        assert not space.receive(envelopes).refused
        self.disk.mark(Received(envelopes))


Scenario = Callable[[World], None]


def record(scenario: Scenario) -> Journal:
    """Run a scenario, and give all that it did to its disk."""
    with workplace() as directory, SimulatedDisk(directory) as disk:
        scenario(World.seeded(disk, scenario.__name__))
        return disk.journal


@contextmanager
def workplace() -> Iterator[Path]:
    """A directory, in memory where the machine has that."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        yield Path(name)
