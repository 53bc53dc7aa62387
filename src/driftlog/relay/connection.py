"""One connection to the relay: performs its session's effects in order, and decides nothing.

Two tasks: one receives, one performs. While a slow reader's page is on its way nothing else of that connection is done,
and after `FRAMES_WAITING_MAX` more frames nothing is received either, so that a connection holds a few frames and a page
in memory whatever its other end does.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

from driftlog._core.genesis import Genesis
from driftlog._core.ids import Birthday, SpaceId
from driftlog._core.version_vector import VersionVector
from driftlog._crypto.verify import is_signed
from driftlog._protocol import relay_session as rs
from driftlog._protocol.limits import GREETING_MS_MAX, RELAY_SILENCE_MS_MAX
from driftlog._protocol.messages import NONCE_BYTES, Refusal
from driftlog._transport.base import Connection, ConnectionLost
from driftlog.errors import StorageError
from driftlog.relay.hub import Hub

FRAMES_WAITING_MAX: Final = 2


class Line(Connection, Protocol):
    """A connection on which a device may say little until it is known."""

    def allow_full_frames(self) -> None:
        """Take frames of any legal size from now on."""
        ...


class Shelf(Protocol):
    """What a connection asks of the relay around it. Everything may raise `StorageError`."""

    birthday: Birthday
    hub: Hub

    async def admit(self, space: SpaceId) -> rs.Admitted:
        """Give a space's position and heads."""
        ...

    async def prove(self, space: SpaceId, heads: VersionVector) -> rs.Proved:
        """Find what heads prove."""
        ...

    async def page(self, space: SpaceId, page: rs.ReadPage) -> rs.PageRead:
        """Read a page."""
        ...

    async def store(self, genesis: Genesis, envelopes: tuple[bytes, ...]) -> tuple[rs.Outcome, ...]:
        """Check, judge and store; returns when durable."""
        ...


@dataclass(frozen=True, slots=True)
class _Lost:
    """The connection has ended."""


class Conversation:
    """A connection and its session."""

    def __init__(self, connection: Line, shelf: Shelf, nonce: bytes) -> None:
        assert len(nonce) == NONCE_BYTES
        self._connection = connection
        self._shelf = shelf
        self._nonce = nonce
        self._inbox: asyncio.Queue[rs.Input | _Lost] = asyncio.Queue()
        self._room = asyncio.Semaphore(FRAMES_WAITING_MAX)
        self._is_wake_waiting = False
        self._genesis: Genesis | None = None

    async def run(self) -> None:
        """Converse until either end has had enough."""
        receiving = asyncio.create_task(self._receive())
        try:
            session, effects = rs.begin(self._shelf.birthday, self._nonce)
            while await self._perform(effects):
                event = await self._inbox.get()
                match event:
                    case _Lost():
                        return
                    case rs.FrameReceived():
                        self._room.release()
                    case rs.Woken():
                        self._is_wake_waiting = False
                    case _:
                        pass
                session, effects = rs.step(session, event, is_signed)
        finally:
            if self._genesis is not None:
                self._shelf.hub.leave(self._genesis.space, self._wake)
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
            await self._connection.close("")

    def shut_down(self) -> None:
        """Say goodbye."""
        self._inbox.put_nowait(rs.Shutdown())

    def _wake(self) -> None:
        # One wake that waits is as good as many.
        if not self._is_wake_waiting:
            self._is_wake_waiting = True
            self._inbox.put_nowait(rs.Woken())

    async def _receive(self) -> None:
        patience_ms = GREETING_MS_MAX  # the first frame is a HELLO, or the last
        try:
            while True:
                await self._room.acquire()
                async with asyncio.timeout(patience_ms / 1000):
                    data = await self._connection.receive()
                patience_ms = RELAY_SILENCE_MS_MAX
                self._inbox.put_nowait(rs.FrameReceived(data))
        except ConnectionLost:
            self._inbox.put_nowait(_Lost())
        except TimeoutError:
            self._inbox.put_nowait(rs.Silent())

    async def _perform(self, effects: tuple[rs.Effect, ...]) -> bool:
        """Perform effects in order; tells whether the conversation goes on."""
        for effect in effects:
            match effect:
                case rs.Send(data):
                    try:
                        await self._connection.send(data)
                    except ConnectionLost:
                        return False
                case rs.Admit(genesis):
                    # Joined before reading: what is stored in between wakes us, instead of passing us by.
                    self._genesis = genesis
                    self._connection.allow_full_frames()
                    self._shelf.hub.join(genesis.space, self._wake)
                    await self._answer(self._shelf.admit(genesis.space))
                case rs.Store(envelopes):
                    self._inbox.put_nowait(rs.Outcomes(await self._store(envelopes)))
                case rs.Prove(heads):
                    await self._answer(self._shelf.prove(self._known().space, heads))
                case rs.ReadPage():
                    await self._answer(self._shelf.page(self._known().space, effect))
                case rs.Close():
                    return False
                case _:
                    assert_never(effect)
        return True

    async def _store(self, envelopes: tuple[bytes, ...]) -> tuple[rs.Outcome, ...]:
        try:
            return await self._shelf.store(self._known(), envelopes)
        except StorageError as error:
            # Full or failing, the disk can still be read: the device goes on reading, and offers these again.
            refusal = rs.Rejected(Refusal.UNAVAILABLE, f"the relay could not store it ({type(error).__name__})")
            return (refusal,) * len(envelopes)

    async def _answer(self, asked: Coroutine[object, object, rs.Input]) -> None:
        try:
            self._inbox.put_nowait(await asked)
        except StorageError as error:
            # What SQLite says names the relay's files: that is for the relay's log, which has it.
            self._inbox.put_nowait(rs.Failed(f"the relay's storage failed ({type(error).__name__}); try again later"))

    def _known(self) -> Genesis:
        assert self._genesis is not None, "the session admits before it reads or stores"
        return self._genesis
