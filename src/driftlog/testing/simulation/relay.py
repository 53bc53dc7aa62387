"""A relay of the simulated world: the shipped server on its file, with a listener that is no socket."""

import random
import ssl
from collections.abc import Awaitable, Callable
from contextlib import closing, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import apsw

from driftlog._core.ids import Position, SpaceId
from driftlog._core.version_vector import VersionVector
from driftlog._protocol.limits import PAGE_BYTES_GOAL
from driftlog._protocol.relay_session import ReadPage
from driftlog._sqlite.rows import raw_rows
from driftlog.errors import DriftlogError, StorageError, UnusableFile
from driftlog.relay.connection import Line
from driftlog.relay.reading import Reading
from driftlog.relay.server import Relay, RelayConfig
from driftlog.relay.verifying import verify_file
from driftlog.relay.writing import SPACE_BYTES_MAX
from driftlog.testing.simulation.files import Image, close_without_care
from driftlog.testing.simulation.ledger import Broken
from driftlog.testing.simulation.loop import Host, Killed
from driftlog.testing.simulation.network import Accept, End

if TYPE_CHECKING:
    from driftlog.testing.simulation.world import World

_PLACES = "SELECT d.key, e.batch_seq FROM envelope AS e JOIN device AS d USING (device)"
_RAWS = "SELECT raw FROM envelope ORDER BY id"


class SimulatedPort:
    """Where devices come in, without sockets: the network calls `accept` for each that knocks."""

    port = 1

    def __init__(self, host: Host) -> None:
        self.is_open = False
        self._host = host
        self._handler: Callable[[Line], Awaitable[None]] | None = None
        self._ends: dict[End, None] = {}

    async def listen(
        self,
        handler: Callable[[Line], Awaitable[None]],
        host: str,  # noqa: ARG002 - the shipped listener's arguments, which mean nothing here
        port: int,  # noqa: ARG002
        *,
        health: Callable[[], Awaitable[tuple[bool, bytes]]],  # noqa: ARG002
        tls: ssl.SSLContext | None = None,  # noqa: ARG002
    ) -> None:
        """Let devices in."""
        self._handler = handler
        self.is_open = True

    def accept(self, end: End) -> None:
        """Converse with a device."""
        if self._handler is None or not self.is_open:
            end.vanish()
            end.other.host.post(end.other.lose, "the connection was refused")
            return
        self._ends[end] = None
        self._host.run(self._converse(self._handler, end))

    def refuse_new(self) -> None:
        """Let nobody in any more."""
        self.is_open = False

    async def stop(self) -> None:
        """Cut whoever is still there."""
        for end in list(self._ends):
            await end.close("the relay has stopped")

    async def _converse(self, handler: Callable[[Line], Awaitable[None]], end: End) -> None:
        try:
            await handler(end)
        finally:
            del self._ends[end]


class Server:
    """One relay process on one file."""

    def __init__(self, world: "World", name: str, *, quota_bytes: int, may_be_damaged: bool = False) -> None:
        self.name = name
        self.may_be_damaged = may_be_damaged
        self.host = Host(world.loop, f"{name}#{world.next_number()}")
        self._world = world
        entropy = world.random(f"entropy of {self.host.name}")
        self._port = SimulatedPort(self.host)
        config = RelayConfig(world.disk.path(name), space_bytes_max=quota_bytes, vfs=world.disk.vfs(name))
        # A relay that cannot open its file is no process for long.
        self._relay = Relay(config, entropy=entropy.randbytes, listener=self._port)
        self.host.run(self._relay.start())

    @property
    def damage(self) -> str:
        """What it says of its file, if it has met damage."""
        return self._relay.damage

    def answer(self) -> tuple[Host, Accept]:
        """Say who answers a device that knocks."""
        return self.host, self._port.accept

    def crash(self) -> None:
        """Die; the file stays as it is."""
        with self._world.disk.kept(self.name):
            self.end()

    def end(self) -> None:
        """Let go of the file, which nobody will look at as it is now."""
        self._world.network.leave(self.host)
        self.host.kill()
        self._relay._reading.close()
        close_without_care(self._relay._writing._connection)
        with suppress(apsw.Error) if self.may_be_damaged else nullcontext():
            self._relay._writing.close()

    def heads(self, space: SpaceId) -> VersionVector:
        """Give the heads of a space."""
        return self._relay._reading.admit(space).heads

    def set_quota(self, quota_bytes: int) -> None:
        """Give each space so much room."""
        self._relay._writing._space_bytes_max = quota_bytes

    def places(self) -> set[tuple[bytes, int]]:
        """Give the device and number of every envelope on its disk."""
        return set(self._rows(_PLACES))

    def envelopes(self) -> list[bytes]:
        """Give all envelopes on its disk."""
        # Of a rotten file, what is no BLOB is no envelope.
        return [raw for (raw,) in self._rows(_RAWS) if isinstance(raw, bytes)]

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Give the rows of a query, of a damaged file those before the damage."""
        found: list[tuple[Any, ...]] = []
        try:
            found += raw_rows(self._relay._reading._connection, sql, ())
        except (apsw.Error, UnicodeDecodeError):
            if not self.may_be_damaged:
                raise
        return found


class RelayHost:
    """An address where a relay answers, or two that pretend to be one."""

    def __init__(self, world: "World", name: str) -> None:
        self.name = name
        self.url = f"wss://{name}.example"
        self.server: Server | None = None
        self.twin: Server | None = None
        """A second relay behind the same address, that shows half of the devices another history."""
        self.quota_bytes = SPACE_BYTES_MAX
        self.may_be_damaged = False
        """Its file has rotted, and was not replaced."""
        self._is_opening = False
        self._held: set[tuple[bytes, int]] = set()
        """What was in its file when it last ran."""
        self._world = world
        world.network.doors[self.url] = self._door
        self.drive = world.disk.give_drive(name, self._is_at_work) if world.has_drives and not world.relays else None

    def boot(self) -> None:
        """Start on the file that is there. Where it cannot be opened, its operator does what the error says."""
        assert self.server is None
        try:
            self.server = self._opened()
        except Killed:
            self._bury(self._held)
            self._world.later(0, lambda: self._world.start_relay(self))
        except DriftlogError as error:
            self._world.note(f"{self.name} does not start: {type(error).__name__}: {self._without_path(str(error))}")
            if self.drive is not None and self.drive.raised and isinstance(error, StorageError):
                self.drive.raised = 0
                self._world.later(1_000, lambda: self._world.start_relay(self))
            elif self.may_be_damaged:
                self._world.later(1_000, self.replace)
            else:
                raise

    def _opened(self) -> Server:
        # No longer than it takes: who judges what is left meets no fault of the drive.
        self._is_opening = True
        try:
            return self._server(self.name)
        finally:
            self._is_opening = False

    def rot(self) -> None:
        """Know that its file may be damaged from now on: what it held may be lost."""
        self.may_be_damaged = True
        for server in (self.server, self.twin):
            if server is not None:
                server.may_be_damaged = True
        self._world.traffic.relay_changed(self)
        self._world.ledger.relay_lost()

    def look(self) -> None:
        """Let its operator look whether it has met damage; the file is then replaced by none."""
        for server in (self.server, self.twin):
            if server is not None and server.damage:
                if not self.may_be_damaged:
                    raise Broken(f"of a file that is as it was written: {self._without_path(server.damage)}")
                self._world.note(self._without_path(server.damage))
                # With the file, the other server is gone, too.
                self.replace()
                return

    def verify(self) -> None:
        """Let its operator read all of its file, and replace it if it is damaged."""
        if self.may_be_damaged and self.server is not None:
            try:
                problems = verify_file(self._path, vfs=self._world.disk.vfs(self.name))
            except UnusableFile as error:
                # A bit of what says that it is a relay's.
                problems = [str(error)]
            # The end of a rotten WAL is gone, and nothing says so.
            self._world.ledger.relay_lost()
            if problems:
                self._world.note(f"{self.name} has {len(problems)} findings, as {self._without_path(problems[0])}")
                self.replace()

    def replace(self) -> None:
        """Have the file moved away, so that the devices fill a new one."""
        self.put(None)
        self._world.ledger.relay_lost()

    def crash(self) -> None:
        """Die, and the twin with it. What it acknowledged must be on its disk."""
        self.unfork()
        if self.server is not None:
            held = self._held = self.server.places()
            server, self.server = self.server, None
            self._bury(held, server.end)
            self._world.ledger.check_confirmed(self, held)

    def _bury(self, held: set[tuple[bytes, int]], end: Callable[[], None] = lambda: None) -> None:
        is_cut = self.drive is not None and self.drive.is_cut
        with self._world.disk.kept(self.name):
            end()
        if is_cut and not self.may_be_damaged:
            lost = held - self._places_left()
            if lost:
                raise Broken(f"{self.name} has lost {len(lost)} envelopes that it had stored")

    def end(self) -> None:
        """Let go of all files, which nobody will look at any more."""
        for server in (self.server, self.twin):
            if server is not None:
                server.end()

    def put(self, image: Image | None, *, may_be_damaged: bool = False) -> None:
        """Come back with another file, or with none."""
        self.forget()
        self.may_be_damaged = may_be_damaged
        if image is not None:
            self._world.disk.put(self.name, image)
        self.boot()

    def forget(self) -> None:
        """Die, and have no file any more."""
        self.crash()
        self._held = set()
        self.may_be_damaged = False
        self._world.traffic.relay_changed(self)
        self._world.disk.remove(self.name)

    def doom(self) -> None:
        """Let its process die as soon as it has done what it is doing."""
        if self.server is not None:
            self.server.host.is_doomed = True

    def set_quota(self, quota_bytes: int) -> None:
        """Give each space so much room from now on, without a word to anybody."""
        self.quota_bytes = quota_bytes
        for server in (self.server, self.twin):
            if server is not None:
                server.set_quota(quota_bytes)

    def fork(self) -> None:
        """From now on half of the devices are shown another history than the rest."""
        assert self.server is not None
        if self.twin is None:
            name = f"{self.name}-twin"
            self._world.traffic.relay_changed(self)
            self._world.disk.put(name, self._world.disk.take(self.name))
            try:
                self.twin = self._server(name)
            except DriftlogError:
                if not self.may_be_damaged:
                    raise
                return
            for end in self._ends_of(self.server)[::2]:
                self._world.network.cut(end)

    def unfork(self) -> None:
        """Show one history again: the twin's is lost."""
        if self.twin is not None:
            self.twin.crash()
            self._world.disk.remove(self.twin.name)
            self.twin = None
            self._world.traffic.relay_changed(self)

    def draw_end(self, rng: random.Random) -> End | None:
        """Choose one of the connections."""
        ends = [] if self.server is None else self._ends_of(self.server)
        return rng.choice(ends) if ends else None

    def envelopes(self) -> list[bytes]:
        """Give all envelopes on its disks."""
        return [raw for server in (self.server, self.twin) if server is not None for raw in server.envelopes()]

    def _is_at_work(self) -> bool:
        return self._is_opening or (self.server is not None and self._world.loop.host is self.server.host)

    def _server(self, name: str) -> Server:
        return Server(self._world, name, quota_bytes=self.quota_bytes, may_be_damaged=self.may_be_damaged)

    @property
    def _path(self) -> str:
        return str(self._world.disk.path(self.name))

    def _without_path(self, text: str) -> str:
        return text.replace(self._path, self.name)

    def handed_out(self) -> list[bytes]:
        """Give what a device would be sent that has nothing, up to where the file is refused."""
        found: list[bytes] = []
        after, is_end = Position(0), False
        with suppress(DriftlogError), closing(Reading(self._path, vfs=self._world.disk.vfs(self.name))) as reading:
            while not is_end:
                page = reading.page(self._world.space, ReadPage(0, after, PAGE_BYTES_GOAL, {}))
                found += [raw for _, raw in page.entries]
                after, is_end = page.until, page.is_end
        return found

    def _places_left(self) -> set[tuple[bytes, int]]:
        connection = apsw.Connection(self._path, vfs=self._world.disk.vfs(self.name) or None)
        close_without_care(connection)
        try:
            return set(raw_rows(connection, _PLACES, ()))
        except apsw.SQLError:
            return set()  # it had not been made yet
        finally:
            connection.close()

    def _ends_of(self, server: Server) -> list[End]:
        return [end for end in self._world.network.ends.values() if end.host is server.host]

    def _door(self, host: Host) -> tuple[Host, Accept] | None:
        if self.server is None:
            return None
        is_for_twin = self.twin is not None and sum(host.name.partition("#")[0].encode()) % 2 == 0
        return (self.twin if is_for_twin and self.twin is not None else self.server).answer()
