"""The relay as a process: one port, one file, any number of spaces.

    async with running_relay("relay.db") as relay:
        print(relay.url)

The log names spaces by 8 hex digits and devices not at all; it never holds content, because the relay has none.
"""

import asyncio
import json
import logging
import os
import signal
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, Generic, ParamSpec, Protocol, TypeVar

from driftlog._core.genesis import Genesis
from driftlog._core.ids import BIRTHDAY_BYTES, Birthday, SpaceId, short
from driftlog._core.version_vector import VersionVector
from driftlog._protocol import relay_session as rs
from driftlog._protocol.messages import NONCE_BYTES
from driftlog._transport.listening import (
    CONNECTIONS_MAX,
    CONNECTIONS_PER_ADDRESS_MAX,
    Doors,
    Listener,
)
from driftlog.errors import Corrupt, StorageError
from driftlog.relay.checking import Checks
from driftlog.relay.connection import Conversation, Line
from driftlog.relay.group_commit import GroupCommit
from driftlog.relay.hub import Hub
from driftlog.relay.reading import Reading
from driftlog.relay.sqlite import SqliteStore
from driftlog.relay.store import Job, RelayStore, StoreReader, StoreWriter
from driftlog.relay.writing import SPACE_BYTES_MAX, Writing

GOODBYE_SECONDS_MAX: Final = 5
"""Connections that have not ended by then are cut: a shutdown must not wait for a reader that reads nothing."""

DEFAULT_PORT: Final = 8787

_LOG = logging.getLogger("driftlog.relay")
_P = ParamSpec("_P")
_T = TypeVar("_T")
_W = TypeVar("_W", bound=StoreWriter)
_R = TypeVar("_R", bound=StoreReader)
_Relay = TypeVar("_Relay", bound="StoreRelay[StoreWriter, StoreReader] | Relay")


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """Where a relay listens, and what it keeps."""

    path: str | Path
    """The SQLite file; of another store, what the log calls it."""
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0 takes any free one."""
    tls: ssl.SSLContext | None = None
    """None serves `ws://`: put a proxy that speaks TLS in front of it."""
    space_bytes_max: int = SPACE_BYTES_MAX
    vfs: str = ""
    """The SQLite VFS that stands for the disk; the platform's own if it is empty."""
    connections_max: int = CONNECTIONS_MAX
    """More are refused with HTTP 503."""
    connections_per_address_max: int = CONNECTIONS_PER_ADDRESS_MAX
    """More are refused with HTTP 429. This machine's own are not counted by address: a proxy in front has only that one."""


class Port(Protocol):
    """Where devices come in: sockets, or what a simulation has in their place."""

    @property
    def port(self) -> int:
        """The port that is listened on."""
        ...

    async def listen(
        self,
        handler: Callable[[Line], Awaitable[None]],
        host: str,
        port: int,
        *,
        health: Callable[[], Awaitable[tuple[bool, bytes]]],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Run `handler` for each connection until it returns. Raises `OSError`."""
        ...

    def refuse_new(self) -> None:
        """Let nobody in any more."""
        ...

    async def stop(self) -> None:
        """Let go of the port and cut whoever is still there."""
        ...


class StoreRelay(Generic[_W, _R]):
    """A relay that runs on the current event loop, between `start` and `stop`, on a store that is open.

    `entropy(count)` gives random bytes and `listener` the connections; they are arguments for tests.
    """

    def __init__(
        self,
        config: RelayConfig,
        writing: _W,
        reading: _R,
        *,
        entropy: Callable[[int], bytes] = os.urandom,
        listener: Port | None = None,
    ) -> None:
        self.config = config
        self._entropy = entropy
        self.hub = Hub()
        self._conversations: dict[Conversation, asyncio.Task[None]] = {}
        self._writing = writing
        self._reading = reading
        self.birthday: Birthday = reading.birthday
        self.damage = ""
        """What was found damaged in the store first; until a restart with another file, whoever needs it is refused."""
        self._reader = ThreadPoolExecutor(1, "driftlog-relay-reader")
        self._checks = Checks()
        doors = Doors(config.connections_max, config.connections_per_address_max)
        self._listener: Port = Listener(doors) if listener is None else listener

    @property
    def url(self) -> str:
        """Where devices connect."""
        scheme = "ws" if self.config.tls is None else "wss"
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        return f"{scheme}://{host}:{self.port}"

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._listener.port

    @property
    def connection_count(self) -> int:
        """How many connections are open."""
        return len(self._conversations)

    async def start(self) -> None:
        """Listen."""
        self._commits = GroupCommit(self._writing, self._grown)
        config = self.config
        try:
            await self._listener.listen(self._converse, config.host, config.port, health=self._healthz, tls=config.tls)
        except OSError:
            await self._release()
            raise
        _LOG.info("relay %s serves %s from %s", short(self.birthday), self.url, config.path)

    async def stop(self) -> None:
        """Say goodbye to everybody, commit what has arrived, and let go of port and file."""
        self._listener.refuse_new()
        for conversation in self._conversations:
            conversation.shut_down()
        if self._conversations:
            _, late = await asyncio.wait(self._conversations.values(), timeout=GOODBYE_SECONDS_MAX)
            for task in late:
                task.cancel()
        await self._listener.stop()
        await self._release()
        _LOG.info("relay %s has stopped", short(self.birthday))

    async def admit(self, space: SpaceId) -> rs.Admitted:
        """Give a space's position and heads."""
        _LOG.info("a device joined space %s", short(space))
        return await self._read(self._reading.admit, space)

    async def prove(self, space: SpaceId, heads: VersionVector) -> rs.Proved:
        """Find what heads prove."""
        return await self._read(self._reading.prove, space, heads)

    async def page(self, space: SpaceId, page: rs.ReadPage) -> rs.PageRead:
        """Read a page."""
        return await self._read(self._reading.page, space, page)

    async def store(self, genesis: Genesis, envelopes: tuple[bytes, ...]) -> tuple[rs.Outcome, ...]:
        """Check, judge and store; returns when durable."""
        checked = await self._checks.check(genesis.space, envelopes)
        outcomes: tuple[rs.Outcome, ...]
        if isinstance(checked, rs.Rejected):
            outcomes = (checked,)
        else:
            try:
                outcomes = await self._commits.store(Job(genesis.space, genesis.encode(), checked))
            except Corrupt as error:
                self._note_damage(error)
                raise
        # The texts name devices and come from strangers' bytes: they are for the device that uploaded.
        refused = Counter(outcome.code.name for outcome in outcomes if isinstance(outcome, rs.Rejected))
        if refused:
            counts = ", ".join(f"{code} {count}" for code, count in sorted(refused.items()))
            _LOG.warning("space %s: refused of %d envelopes: %s", short(genesis.space), len(envelopes), counts)
        return outcomes

    async def _converse(self, connection: Line) -> None:
        conversation = Conversation(connection, self, self._entropy(NONCE_BYTES))
        task = asyncio.current_task()
        assert task is not None
        self._conversations[conversation] = task
        try:
            await conversation.run()
        finally:
            del self._conversations[conversation]

    def _grown(self, spaces: Iterable[SpaceId]) -> None:
        self.hub.wake(spaces)

    async def _read(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader, lambda: call(*args, **kwargs))
        except StorageError as error:
            # The device is told that something failed, and not what: SQLite's words name the relay's files.
            _LOG.error("a read failed: %s", error)
            if isinstance(error, Corrupt):
                self._note_damage(error)
            raise

    def _note_damage(self, error: Corrupt) -> None:
        self.damage = self.damage or str(error)

    async def _release(self) -> None:
        # The writer closes last: the last connection that can write moves the WAL into the file.
        self._checks.stop()
        self._reader.shutdown()
        self._reading.close()
        await self._commits.stop()

    async def _healthz(self) -> tuple[bool, bytes]:
        # What is wrong is for the log: anybody may ask here.
        told = {"ok": False, "birthday": short(self.birthday), "connections": self.connection_count}
        with suppress(StorageError):
            counts = await self._read(self._reading.counts)
            told |= {"ok": not self.damage, "spaces": counts.spaces, "envelopes": counts.envelopes}
        return told["ok"] is True, json.dumps(told).encode()


class Relay(StoreRelay[Writing, Reading]):
    """A relay on the SQLite file that its configuration names."""

    def __init__(
        self, config: RelayConfig, *, entropy: Callable[[int], bytes] = os.urandom, listener: Port | None = None
    ) -> None:
        store = SqliteStore(str(config.path), config.vfs)
        writing = store.open_writer(Birthday(entropy(BIRTHDAY_BYTES)), space_bytes_max=config.space_bytes_max)
        super().__init__(config, writing, _beside(writing, store.open_reader), entropy=entropy, listener=listener)


@asynccontextmanager
async def running_relay(
    path: str | Path, *, host: str = "127.0.0.1", port: int = 0, space_bytes_max: int = SPACE_BYTES_MAX
) -> AsyncIterator[Relay]:
    """Run a relay for the length of a `with` block. Port 0 takes any free one; see `relay.url`."""
    async with _running(Relay(RelayConfig(path, host, port, space_bytes_max=space_bytes_max))) as relay:
        yield relay


@asynccontextmanager
async def running_relay_on(
    store: RelayStore, *, host: str = "127.0.0.1", port: int = 0, space_bytes_max: int = SPACE_BYTES_MAX
) -> AsyncIterator[StoreRelay[StoreWriter, StoreReader]]:
    """Run a relay on a store of another kind than SQLite's file, for the length of a `with` block."""
    writing = store.open_writer(Birthday(os.urandom(BIRTHDAY_BYTES)), space_bytes_max=space_bytes_max)
    config = RelayConfig(type(store).__name__, host, port, space_bytes_max=space_bytes_max)
    async with _running(StoreRelay(config, writing, _beside(writing, store.open_reader))) as relay:
        yield relay


def _beside(writing: StoreWriter, open_reader: Callable[[], _R]) -> _R:
    """Open a reader beside a writer, which is let go of if that fails."""
    try:
        return open_reader()
    except BaseException:
        writing.close()
        raise


@asynccontextmanager
async def _running(relay: _Relay) -> AsyncIterator[_Relay]:
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()


async def serve_forever(config: RelayConfig, on_start: Callable[[Relay], None] = lambda _: None) -> None:
    """Run a relay until SIGINT or SIGTERM, then end it cleanly. `on_start` is called once it listens."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop_soon(_: int, __: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, stop.set)
        except NotImplementedError:
            # Windows' event loops have none; Python's own handler does there, and wakes the loop by itself.
            signal.signal(number, stop_soon)
    relay = Relay(config)
    await relay.start()
    try:
        on_start(relay)
        await stop.wait()
    finally:
        await relay.stop()
