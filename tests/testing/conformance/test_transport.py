"""The shipped transport over real sockets, one in memory, and transports with one mistake each."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from driftlog._transport.base import Connection, ConnectionLost
from driftlog._transport.listening import Doors, Listener, RelayConnection
from driftlog._transport.websocket import connect
from driftlog.testing.conformance import (
    TRANSPORT_CHECKS,
    Nonconforming,
    check_connecting,
    check_transport,
)
from driftlog.testing.conformance import transport as checks
from driftlog.testing.conformance.transport import Check, MakePair

QUEUE_BYTES_MAX = 4 << 20
PATIENCE_SECONDS = 0.05


class End:
    """One end of a connection in memory: right, and made so that a mistake is one method."""

    def __init__(self) -> None:
        self.other: End
        self.inbox: deque[bytes] = deque()
        self.lost: str | None = None
        self.changed = asyncio.Event()

    async def send(self, data: bytes) -> None:
        while self.lost is None and sum(map(len, self.other.inbox)) > QUEUE_BYTES_MAX:
            self.other.changed.clear()
            await self.other.changed.wait()
        if self.lost is not None:
            raise ConnectionLost(self.lost)
        self.deliver(data)

    def deliver(self, data: bytes) -> None:
        self.other.inbox.append(data)
        self.other.changed.set()

    async def receive(self) -> bytes:
        while not self.inbox:
            if self.lost is not None:
                raise ConnectionLost(self.lost)
            self.changed.clear()
            await self.changed.wait()
        self.changed.set()
        return self.inbox.popleft()

    async def close(self, reason: str) -> None:
        if self.lost is None:
            self.lose("it was closed here")
            self.inbox.clear()
            self.other.lose(reason or "the other end closed")

    def lose(self, reason: str) -> None:
        if self.lost is None:
            self.lost = reason
            self.changed.set()


def pairs(near_kind: type[End], far_kind: type[End] | None = None) -> MakePair:
    @asynccontextmanager
    async def make_pair() -> AsyncIterator[tuple[Connection, Connection]]:
        near, far = near_kind(), (far_kind or near_kind)()
        near.other, far.other = far, near
        yield near, far

    return make_pair


@asynccontextmanager
async def over_sockets() -> AsyncIterator[tuple[Connection, Connection]]:
    """Open a shipped connection, from a device to a relay's port."""
    listener = Listener(Doors(10, 10))
    arrived: asyncio.Future[RelayConnection] = asyncio.get_running_loop().create_future()
    is_over = asyncio.Event()

    async def keep(connection: RelayConnection) -> None:
        connection.allow_full_frames()
        arrived.set_result(connection)
        await is_over.wait()

    async def health() -> tuple[bool, bytes]:
        return True, b"{}"

    await listener.listen(keep, "127.0.0.1", 0, health=health)
    try:
        async with connect(f"ws://127.0.0.1:{listener.port}") as device:
            yield device, await arrived
            is_over.set()
    finally:
        is_over.set()
        await listener.stop()


@asynccontextmanager
async def over_sockets_from_the_relay() -> AsyncIterator[tuple[Connection, Connection]]:
    async with over_sockets() as (device, relay):
        yield relay, device


@pytest.mark.slow
@pytest.mark.parametrize("make_pair", [over_sockets, over_sockets_from_the_relay])
@pytest.mark.parametrize("check", TRANSPORT_CHECKS, ids=lambda check: check.__name__)
def test_the_shipped_transport_conforms(check: Check, make_pair: MakePair) -> None:
    # Long, for a busy machine: only an end that reads nothing is waited for.
    seconds = 1 if check is checks.an_end_that_reads_nothing_is_not_sent_to_without_bound else 20
    asyncio.run(check(make_pair, seconds))


def test_a_right_transport_in_memory_conforms() -> None:
    asyncio.run(check_transport(pairs(End), patience_seconds=0.2))


def test_where_nobody_listens_the_shipped_transport_says_so() -> None:
    async def main() -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        await check_connecting(connect, f"ws://127.0.0.1:{port}")

    asyncio.run(main())


# --- transports with one mistake each ----------------------------------------------------------------------------------


class DropsTheTail(End):
    def deliver(self, data: bytes) -> None:
        super().deliver(data[:65_536])


class GivesBytearrays(End):
    async def receive(self) -> bytes:
        return bytearray(await super().receive())  # type: ignore[return-value]  # the mistake


class SkipsTheEmptyMessage(End):
    def deliver(self, data: bytes) -> None:
        if data:
            super().deliver(data)


class Reorders(End):
    def deliver(self, data: bytes) -> None:
        self.other.inbox.insert(max(0, len(self.other.inbox) - 1), data)
        self.other.changed.set()


class Repeats(End):
    def deliver(self, data: bytes) -> None:
        super().deliver(data)
        if data.endswith(b"7"):
            super().deliver(data)


class Splits(End):
    def deliver(self, data: bytes) -> None:
        for part in (data[:4_096], data[4_096:]):
            if part or not data:
                super().deliver(part)


class Joins(End):
    def deliver(self, data: bytes) -> None:
        if self.other.inbox:
            data = self.other.inbox.pop() + data
        super().deliver(data)


class OneAtATime(End):
    def __init__(self) -> None:
        super().__init__()
        self.lock = asyncio.Lock()

    async def send(self, data: bytes) -> None:
        async with self.lock:
            await super().send(data)

    async def receive(self) -> bytes:
        async with self.lock:
            return await super().receive()


class LosesWhatACancelledReceiveHad(End):
    async def receive(self) -> bytes:
        data = await super().receive()
        for _ in range(5):
            await asyncio.sleep(0)
        return data


class LosesItsPlaceInALongMessage(End):
    async def receive(self) -> bytes:
        data = await super().receive()
        if len(data) > 65_536:
            await asyncio.sleep(0)
        return data


class ClosesBeforeItHasSent(End):
    async def close(self, reason: str) -> None:
        self.other.inbox.clear()
        await super().close(reason)


class DeliversAfterTheEnd(End):
    def __init__(self) -> None:
        super().__init__()
        self.late = [b"late"]

    async def receive(self) -> bytes:
        if self.lost is not None and not self.inbox and self.late:
            data = self.late.pop()
            self.inbox.append(data)
            raise ConnectionLost(self.lost)
        return await super().receive()


class SwallowsClose(End):
    async def close(self, reason: str) -> None:  # noqa: ARG002 - the interface's argument
        self.lose("it was closed here")
        self.inbox.clear()


class SleepsThroughItsOwnClose(End):
    async def close(self, reason: str) -> None:
        if self.lost is None:
            self.lost = "it was closed here"
            self.other.lose(reason or "the other end closed")


class SendsAfterClose(End):
    async def send(self, data: bytes) -> None:
        if self.lost is None:
            await super().send(data)


class RaisesItsOwnError(End):
    async def send(self, data: bytes) -> None:
        if self.lost is not None:
            raise BrokenPipeError(32, "Broken pipe")
        await super().send(data)


class ClosesOnce(End):
    async def close(self, reason: str) -> None:
        if self.lost is not None:
            raise RuntimeError("already closed")
        await super().close(reason)


class SaysNothing(End):
    def lose(self, reason: str) -> None:  # noqa: ARG002 - likewise
        super().lose("")


class KeepsEverything(End):
    async def send(self, data: bytes) -> None:
        if self.lost is not None:
            raise ConnectionLost(self.lost)
        self.deliver(data)


class WaitsForTheReaderToClose(End):
    async def close(self, reason: str) -> None:
        while self.lost is None and self.other.inbox:
            self.other.changed.clear()
            await self.other.changed.wait()
        await super().close(reason)


MISTAKES: list[tuple[type[End], Callable[..., object], str]] = [
    (DropsTheTail, checks.messages_of_every_size_arrive_whole, "65537 bytes were sent, and 65536 bytes"),
    (GivesBytearrays, checks.messages_of_every_size_arrive_whole, "gave a bytearray; give bytes"),
    (SkipsTheEmptyMessage, checks.messages_of_every_size_arrive_whole, "had not ended"),
    (Splits, checks.messages_of_every_size_arrive_whole, "send a message's length with it"),
    (Reorders, checks.messages_arrive_in_the_order_in_which_they_were_sent, "in place of b'message"),
    (Repeats, checks.messages_arrive_in_the_order_in_which_they_were_sent, "neither join, split nor repeat"),
    (Joins, checks.messages_arrive_in_the_order_in_which_they_were_sent, "had not ended"),
    (
        OneAtATime,
        checks.both_ends_may_send_at_once_while_they_receive,
        r"send\(\) while receive\(\) waits had not ended",
    ),
    (
        LosesWhatACancelledReceiveHad,
        checks.a_receive_that_is_cancelled_loses_no_message,
        "take a message out in the step that gives it",
    ),
    (
        LosesItsPlaceInALongMessage,
        checks.a_receive_that_is_cancelled_loses_no_message,
        "of 300000 bytes, did not arrive",
    ),
    (ClosesBeforeItHasSent, checks.what_was_sent_before_closing_arrives_and_nothing_after, "0 arrived before"),
    (
        DeliversAfterTheEnd,
        checks.what_was_sent_before_closing_arrives_and_nothing_after,
        "b'late' came once it has raised",
    ),
    (
        SwallowsClose,
        checks.what_was_sent_before_closing_arrives_and_nothing_after,
        r"receive\(\) up to the end had not",
    ),
    (SwallowsClose, checks.sending_to_an_end_that_has_closed_raises_before_long, "had not ended"),
    (SaysNothing, checks.what_was_sent_before_closing_arrives_and_nothing_after, "ConnectionLost has no text"),
    (
        SleepsThroughItsOwnClose,
        checks.an_end_that_was_closed_sends_and_receives_no_more,
        "that waited at the end that clo",
    ),
    (SendsAfterClose, checks.an_end_that_was_closed_sends_and_receives_no_more, r"None came after close\(\)"),
    (RaisesItsOwnError, checks.sending_to_an_end_that_has_closed_raises_before_long, "BrokenPipeError.* turn it into"),
    (
        ClosesOnce,
        checks.closing_again_or_after_the_other_end_raises_nothing,
        r"raised RuntimeError.*let close\(\) never",
    ),
    (KeepsEverything, checks.an_end_that_reads_nothing_is_not_sent_to_without_bound, "took 128 messages of 1 MiB"),
    (
        WaitsForTheReaderToClose,
        checks.an_end_that_reads_nothing_is_not_sent_to_without_bound,
        r"close\(\) towards an end",
    ),
]


@pytest.mark.parametrize(("kind", "check", "said"), MISTAKES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_transport_with_a_mistake_is_told_what_to_mend(
    kind: type[End], check: Check, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "CLOSE_SECONDS_MAX", PATIENCE_SECONDS)
    with pytest.raises(Nonconforming, match=said) as found:
        asyncio.run(check(pairs(kind), PATIENCE_SECONDS))
    assert str(found.value).startswith(check.__name__.replace("_", " "))


def test_every_check_of_a_transport_can_fail() -> None:
    assert {check for _, check, _ in MISTAKES} == set(TRANSPORT_CHECKS)


def test_connecting_to_nobody_must_end_in_connection_lost() -> None:
    @asynccontextmanager
    async def welcomes(url: str) -> AsyncIterator[Connection]:
        yield End()

    @asynccontextmanager
    async def raises_its_own(url: str) -> AsyncIterator[Connection]:
        raise OSError("nobody there")
        yield End()

    @asynccontextmanager
    async def waits(url: str) -> AsyncIterator[Connection]:
        await asyncio.Event().wait()
        yield End()

    for wrong, said in ((welcomes, "was connected"), (raises_its_own, "turn it into"), (waits, "nothing happened for")):
        with pytest.raises(Nonconforming, match=said):
            asyncio.run(check_connecting(wrong, "x://nobody", patience_seconds=PATIENCE_SECONDS))
