"""A relay of the simulated world: the shipped server on its file, with a listener that is no socket."""

import random
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import apsw

from driftlog._core.ids import SpaceId
from driftlog._core.version_vector import VersionVector
from driftlog._sqlite.rows import raw_rows
from driftlog.relay.connection import Line
from driftlog.relay.server import Relay, RelayConfig
from driftlog.relay.writing import SPACE_BYTES_MAX
from driftlog.testing.simulation.files import Image, close_without_care
from driftlog.testing.simulation.ledger import Broken
from driftlog.testing.simulation.loop import Host
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
        health: Callable[[], Awaitable[bytes]],  # noqa: ARG002
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

    def __init__(self, world: "World", name: str, *, quota_bytes: int) -> None:
        self.name = name
        self.host = Host(world.loop, f"{name}#{world.next_number()}")
        self._world = world
        entropy = world.random(f"entropy of {self.host.name}")
        self._port = SimulatedPort(self.host)
        config = RelayConfig(world.disk.path(name), space_bytes_max=quota_bytes, vfs=world.disk.vfs(name))
        self._relay = Relay(config, entropy=entropy.randbytes, listener=self._port)
        self.host.run(self._relay.start())

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
        self._relay._writing.close()

    def heads(self, space: SpaceId) -> VersionVector:
        """Give the heads of a space."""
        return self._relay._reading.admit(space).heads

    def set_quota(self, quota_bytes: int) -> None:
        """Give each space so much room."""
        self._relay._writing._space_bytes_max = quota_bytes

    def places(self) -> set[tuple[bytes, int]]:
        """Give the device and number of every envelope on its disk."""
        return set(raw_rows(self._relay._reading._connection, _PLACES, ()))

    def envelopes(self) -> list[bytes]:
        """Give all envelopes on its disk."""
        return [raw for (raw,) in raw_rows(self._relay._reading._connection, _RAWS, ())]


class RelayHost:
    """An address where a relay answers, or two that pretend to be one."""

    def __init__(self, world: "World", name: str) -> None:
        self.name = name
        self.url = f"wss://{name}.example"
        self.server: Server | None = None
        self.twin: Server | None = None
        """A second relay behind the same address, that shows half of the devices another history."""
        self.quota_bytes = SPACE_BYTES_MAX
        self._world = world
        world.network.doors[self.url] = self._door
        self.drive = world.disk.give_drive(name, self._is_at_work) if world.has_drives and not world.relays else None

    def boot(self) -> None:
        """Start on the file that is there."""
        assert self.server is None
        self.server = Server(self._world, self.name, quota_bytes=self.quota_bytes)

    def crash(self) -> None:
        """Die, and the twin with it. What it acknowledged must be on its disk."""
        self.unfork()
        if self.server is not None:
            held = self.server.places()
            is_cut = self.drive is not None and self.drive.is_cut
            self.server.crash()
            self.server = None
            if is_cut:
                left = self._places_left()
                if held - left:
                    raise Broken(f"{self.name} has lost {len(held - left)} envelopes that it had stored")
            self._world.ledger.check_confirmed(self, held)

    def end(self) -> None:
        """Let go of all files, which nobody will look at any more."""
        for server in (self.server, self.twin):
            if server is not None:
                server.end()

    def put(self, image: Image | None) -> None:
        """Come back with another file, or with none."""
        self.crash()
        self._world.disk.remove(self.name)
        if image is not None:
            self._world.disk.put(self.name, image)
        self.boot()

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
            self._world.disk.put(name, self._world.disk.take(self.name))
            self.twin = Server(self._world, name, quota_bytes=self.quota_bytes)
            for end in self._ends_of(self.server)[::2]:
                self._world.network.cut(end)

    def unfork(self) -> None:
        """Show one history again: the twin's is lost."""
        if self.twin is not None:
            self.twin.crash()
            self._world.disk.remove(self.twin.name)
            self.twin = None

    def draw_end(self, rng: random.Random) -> End | None:
        """Choose one of the connections."""
        ends = [] if self.server is None else self._ends_of(self.server)
        return rng.choice(ends) if ends else None

    def envelopes(self) -> list[bytes]:
        """Give all envelopes on its disks."""
        return [raw for server in (self.server, self.twin) if server is not None for raw in server.envelopes()]

    def _is_at_work(self) -> bool:
        return self.server is not None and self._world.loop.host is self.server.host

    def _places_left(self) -> set[tuple[bytes, int]]:
        connection = apsw.Connection(str(self._world.disk.path(self.name)), vfs=self._world.disk.vfs(self.name) or None)
        close_without_care(connection)
        try:
            return set(raw_rows(connection, _PLACES, ()))
        finally:
            connection.close()

    def _ends_of(self, server: Server) -> list[End]:
        return [end for end in self._world.network.ends.values() if end.host is server.host]

    def _door(self, host: Host) -> tuple[Host, Accept] | None:
        if self.server is None:
            return None
        is_for_twin = self.twin is not None and sum(host.name.partition("#")[0].encode()) % 2 == 0
        return (self.twin if is_for_twin and self.twin is not None else self.server).answer()
