"""A device of the simulated fleet: one file, its clock and its drive, and the processes that have it open, one or two."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import apsw

from driftlog._core.clock import Timestamp
from driftlog._sqlite.connection import Durability
from driftlog._sqlite.sqltext import fold, quote
from driftlog._store.log import HELD
from driftlog.errors import DriftlogError, ForbiddenSQL, InvalidEvent, StorageError, UnusableFile
from driftlog.space.app import App
from driftlog.space.space import Space
from driftlog.testing.simulation.clocks import DeviceClock
from driftlog.testing.simulation.files import Image, close_without_care
from driftlog.testing.simulation.ledger import Broken, Held
from driftlog.testing.simulation.loop import Killed
from driftlog.testing.simulation.mending import mend
from driftlog.testing.simulation.process import Process
from driftlog.testing.simulation.versions import Version

if TYPE_CHECKING:
    from driftlog.testing.simulation.world import World

MISTAKES = (InvalidEvent, ForbiddenSQL)
"""What no user gets to see of an app that is right: the workload's author is told."""

_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table'"
_EVENTS = "SELECT hlc, device, hash FROM driftlog_entry"
_PLACED = "SELECT hlc, device, hash FROM driftlog_entry WHERE (hlc, device, hash) <= (?, ?, ?) AND state <> ?"
_ENVELOPES = "SELECT hash FROM driftlog_envelope"
_LAST_OWN = "SELECT coalesce(max(hlc), -1) FROM driftlog_entry WHERE device = ?"
_OWN_AFTER = "SELECT hlc, device, hash FROM driftlog_entry WHERE device = ? AND hlc > ? ORDER BY hlc"


RELAXED = 0.4
"""Of the devices on drives: what they may lose, and no more, is tried on them."""

Ask = Callable[[str], list[tuple[Any, ...]]]


class Device:
    """A device: its file, its clock, its version of the app, and the processes that have the file open."""

    def __init__(self, world: "World", name: str, version: int, *, is_on_drive: bool) -> None:
        self.world = world
        self.name = name
        self.version = version
        self.clock = DeviceClock(world.loop)
        self.processes: list[Process] = []
        self.key = b""
        """Once it is a member."""
        self.is_lost = False
        self.is_to_stay_down = False
        self.is_mended = False
        """Its file was damaged once, and was repaired."""
        self.urls: list[str] = []
        """The relays that it syncs with."""
        self._entropy = world.random(f"entropy of {name}")
        self._boots = 0
        self._is_opening = False
        self.is_member = False
        """Its file is there."""
        self.has_failed_to_join = False
        self._forgiven = 0
        self.drive = world.disk.give_drive(name, self._is_at_work) if is_on_drive else None
        self.path = str(world.disk.path(name))
        """Where its file is."""
        is_relaxed = self.drive is not None and world.random(f"durability of {name}").random() < RELAXED
        self.durability: Durability = "relaxed" if is_relaxed else "full"

    @property
    def is_up(self) -> bool:
        """Whether any process runs."""
        return bool(self.processes)

    @property
    def is_to_go_on_syncing(self) -> bool:
        """Whether a process syncs, and was not asked to end."""
        return any(process.is_syncing and not process.is_ending for process in self.processes)

    @property
    def space(self) -> Space:
        """The space as its first process has it open."""
        return self.processes[0].space

    def entropy(self, count: int) -> bytes:
        """Give what this device's system would draw."""
        return self._entropy.randbytes(count)

    # --- life and death ------------------------------------------------------------------------------------------------

    def found(self) -> None:
        """Begin the space that all others join."""
        self._begin(self._open())

    def join(self) -> None:
        """Join the space with a new file. Where the disk is in the way, it is tried again until it is done."""
        try:
            space = self._joined()
        except Killed:
            self._bury()
            self.world.later(0, lambda: self.world.start(self))
        except StorageError as error:
            self._forgive(error)
            self.world.later(1_000, lambda: self.world.start(self))
        except UnusableFile as error:
            # Its user is told that there is something at the path. It can only be what an earlier try has made.
            self.world.note(f"{self.name}: {self.without_path(str(error))}")
            if not self.has_failed_to_join:
                raise
            self.is_member = True
            self.boot()
        else:
            self._begin(space)

    def boot(self) -> None:
        """Open the file that is there, in the first process; join, if that has not come about yet."""
        assert not self.processes
        if not self.is_member:
            self.join()
            return
        with self._file() as ask:
            before = self._local_rows(ask)
        try:
            space = self._open()
        except Killed:
            self._bury()
            self.world.later(0, lambda: self.world.start(self))
            return
        except StorageError as error:
            self._forgive(error)
            self.world.later(1_000, lambda: self.world.start(self))
            return
        if space.space_id != self.world.space:
            raise Broken(f"{self.name} has opened its file, and it is another space")
        self._begin(space)
        self.world.ledger.check_kept(self)
        if not before.items() <= self._local_rows(self._ask).items():
            raise Broken(f"{self.name} has opened its file and lost rows of its local tables")

    def boot_second(self) -> None:
        """Open the same file in another process, which does not sync."""
        try:
            self.processes.append(self._process(self._open()))
            for process in self.processes:
                process.subscribers.look_from_now_on()
        except Killed:
            if self.drive is not None and self.drive.is_dead:
                self.world.killed(self.processes[0].host)
        except StorageError as error:
            self._forgive(error)

    def stop(self) -> None:
        """Ask all processes to end as they should."""
        for process in list(self.processes):
            if process.stop():
                self.process_ended(process)

    def process_ended(self, process: Process) -> None:
        """Let go of the file."""
        if process in self.processes:
            self.processes.remove(process)
            with suppress(Killed), nullcontext() if self.drive is None else self.drive.closing():
                process.space.close()
            if self._bury():
                self.world.later(0, lambda: self.world.start(self))

    def crash(self) -> None:
        """Let all processes die where they are; the file stays as they left it."""
        drive = self.drive
        before = self.held() if drive is not None and drive.is_cut else None
        is_lie = drive is not None and drive.is_lying
        with self.world.disk.kept(self.name):
            self.end()
        self.clock.looks_left = None
        # Perhaps a process of this device has found that another died; who looks at what is left meets no fault.
        with self.world.loop.as_host(self.world.outside):
            if before is not None and is_lie:
                mend(self, before.events)
            elif before is not None:
                self.world.ledger.power_was_cut(self, before)

    def end(self) -> None:
        """Let go of the file, which nobody will look at as it is now."""
        processes, self.processes = self.processes, []
        for process in processes:
            self.world.network.leave(process.host)
            process.host.kill()
            close_without_care(process.space._engine._connection)
            process.space.close()

    def doom(self) -> None:
        """Let all processes die as soon as they do anything."""
        for process in self.processes:
            process.host.is_doomed = True

    def lose(self) -> None:
        """Be gone for good, with the file."""
        self.crash()
        self.world.disk.remove(self.name)
        self.is_lost = True

    def put(self, image: Image) -> None:
        """Have the file replaced by another, as whoever restores a backup does."""
        self.crash()
        self.world.disk.put(self.name, image)

    def _open(self) -> Space:
        with self._opening():
            return self.app.open(
                self.path,
                durability=self.durability,
                clock=self.clock,
                entropy=self.entropy,
                vfs=self.world.disk.vfs(self.name),
            )

    def _joined(self) -> Space:
        with self._opening():
            return self.app.join(
                self.path,
                self.world.link,
                durability=self.durability,
                clock=self.clock,
                entropy=self.entropy,
                vfs=self.world.disk.vfs(self.name),
            )

    @contextmanager
    def _opening(self) -> Iterator[None]:
        self._is_opening = True
        try:
            yield
        except (Killed, StorageError):
            self.has_failed_to_join |= not self.is_member
            raise
        finally:
            self._is_opening = False

    def _is_at_work(self) -> bool:
        """Tell whether what is done now is this device's doing."""
        return self._is_opening or self.world.device_by_host.get(self.world.loop.host) is self

    def _bury(self) -> bool:
        """Clear up after a process that died while it used the drive; tells whether one did."""
        if self.drive is None or not self.drive.is_dead:
            return False
        self.crash()
        return True

    def _forgive(self, error: StorageError) -> None:
        """Pass over what is the drive's fault."""
        self.world.note(f"{self.name}: {type(error).__name__}: {self.without_path(str(error))}")
        if self.drive is None or self.drive.raised == self._forgiven:
            raise error
        self._forgiven = self.drive.raised

    def without_path(self, text: str) -> str:
        """Leave out of a text where the file is, which no two runs have in common."""
        return text.replace(self.path, self.name)

    def _begin(self, space: Space) -> None:
        self.key = space.device
        self.is_member = True
        process = self._process(space)
        self.processes.append(process)
        self.urls = self.world.urls_of(self)
        process.sync(self.urls)

    def _process(self, space: Space) -> Process:
        self._boots += 1
        return Process(self, space, f"{self.name}#{self._boots}")

    # --- what its user does ----------------------------------------------------------------------------------------------

    def work(self, rng: random.Random) -> None:
        """Let the app's user do something, and note what was acknowledged."""
        process = rng.choice(self.processes)
        own = process.space.device
        before = self._ask(_LAST_OWN, (own,), process)[0][0]
        is_killed = False
        try:
            with self.world.loop.as_host(process.host):
                self._version.workload(process.space, rng)
        except MISTAKES:
            raise
        except DriftlogError as error:
            self.world.note(f"{self.name}: {type(error).__name__}: {self.without_path(str(error))}")
        except Killed:
            is_killed = True
        made = [Timestamp(*row) for row in self._ask(_OWN_AFTER, (own, before), process)]
        self.world.note(f"{self.name} appended {len(made)}{' and died' if is_killed else ''}")
        self.world.ledger.acknowledge(self, made)
        if is_killed or (self.drive is not None and self.drive.is_dead):
            self.world.killed(process.host)

    def confirmed_by(self, url: str) -> int:
        """Give the number of its last envelope that it says a relay has."""
        # What `status()` shows, without the rest of it: this is asked often.
        with self.space._engine.reading() as store:
            mark = store.meta.relay(url)
        return 0 if mark is None else mark.confirmed_seq

    def events(self) -> set[Timestamp]:
        """Give all events in the file, whether or not it is open."""
        if not self.is_member:
            return set()
        if self.processes:
            return {Timestamp(*row) for row in self._ask(_EVENTS)}
        with self._file() as ask:
            return {Timestamp(*row) for row in ask(_EVENTS)}

    def placed_up_to(self, at: Timestamp) -> set[Timestamp]:
        """Give the events up to a place that have taken theirs, of a device that runs."""
        return {Timestamp(*row) for row in self._ask(_PLACED, (*at, HELD))}

    def held(self) -> Held:
        """Give all events and envelopes in the file, by a connection of its own: the processes' may be dead."""
        if not self.is_member:
            return Held(set(), set())
        with self._file() as ask:
            return Held({Timestamp(*row) for row in ask(_EVENTS)}, {hashed for (hashed,) in ask(_ENVELOPES)})

    def _local_rows(self, ask: "Ask") -> dict[str, object]:
        """Give the rows of each local table that is in the file."""
        local = sorted(self._version.app._local.names & {fold(str(name)) for (name,) in ask(_TABLES)})
        return {name: ask(f"SELECT * FROM {quote(name)}") for name in local}

    def _ask(
        self, sql: str, parameters: tuple[bytes | int, ...] = (), process: Process | None = None
    ) -> list[tuple[Any, ...]]:  # as SQLite gives them
        """Read the file through a process that has it open."""
        with (process or self.processes[0]).space._engine.reading() as store:
            cursor = store.connection.cursor()
            cursor.row_trace = None
            return list(cursor.execute(sql, parameters))

    @contextmanager
    def _file(self) -> Iterator[Ask]:
        """Read the file through nobody's connection."""
        connection = apsw.Connection(self.path, vfs=self.world.disk.vfs(self.name) or None)

        def ask(sql: str) -> list[tuple[Any, ...]]:
            return connection.execute(sql).fetchall()

        try:
            yield ask
        finally:
            # Or who opens it next would not find the WAL that the dead process has left.
            close_without_care(connection)
            connection.close()

    @property
    def app(self) -> App:
        """Its version of the app."""
        return self._version.app

    @property
    def _version(self) -> Version:
        return self.world.versions[self.version]
