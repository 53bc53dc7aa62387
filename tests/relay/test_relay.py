"""The relay over real sockets: membership, slow readers, floods, shutdown, and what survives being killed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from driftlog._core.genesis import Genesis
from driftlog._core.ids import NO_ENVELOPE, Birthday, Position
from driftlog._core.version_vector import VersionVector
from driftlog._protocol.limits import WINDOW_FRAMES
from driftlog._protocol.messages import (
    NO_BIRTHDAY,
    PROTOCOL_VERSION,
    Challenge,
    Envelopes,
    Farewell,
    FromDevice,
    FromRelay,
    Goodbye,
    Hello,
    Ping,
    Pong,
    Read,
    Refusal,
    Refused,
    Stored,
    Upload,
    Want,
    Welcome,
    decode_from_relay,
    hello_message,
)
from driftlog._transport.base import ConnectionLost
from driftlog._transport.websocket import WebSocketConnection, connect
from driftlog.relay.server import Relay, running_relay
from driftlog.testing.relay import RelayThread, relay_thread
from tests.protocol.fakes import GENESIS, chain, envelope, keys_of

SECONDS_MAX = 20


class Line:
    """A device's end of a connection, frame by frame."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection

    async def send(self, frame: FromDevice) -> None:
        await self.connection.send(frame.encode())

    async def receive(self) -> FromRelay:
        async with asyncio.timeout(SECONDS_MAX):
            return decode_from_relay(await self.connection.receive())

    async def hello(
        self, *, birthday: Birthday = NO_BIRTHDAY, cursor: int = 0, genesis: Genesis = GENESIS, protocol: int = 1
    ) -> FromRelay:
        challenge = await self.receive()
        assert isinstance(challenge, Challenge)
        signature = keys_of(1).access.sign(hello_message(challenge.nonce, genesis.space))
        digest = VersionVector().digest()
        await self.send(Hello(protocol, genesis, signature, birthday, Position(cursor), digest))
        return await self.receive()

    async def acknowledged(self, count: int) -> None:
        while count:
            match await self.receive():
                case Stored(stored):
                    count -= stored
                case Envelopes(_, until):
                    await self.send(Read(until))
                case other:
                    raise AssertionError(other)


@asynccontextmanager
async def line_to(url: str) -> AsyncIterator[Line]:
    async with connect(url) as connection:
        yield Line(connection)


async def upload(relay: Relay, number: int, count: int, *, size: int = 0) -> None:
    async with line_to(relay.url) as line:
        await line.hello()
        sealed = chain(keys_of(number), count, size=size)
        for one in sealed:
            await line.send(Upload((one.raw,)))
        await line.acknowledged(count)


def test_a_member_is_welcomed_and_a_stranger_is_not(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay:
            async with line_to(relay.url) as line:
                assert await line.hello() == Welcome(relay.birthday, Position(0), None)
            stranger = Genesis(bytes(32), keys_of(7).device.public, bytes(32), bytes(16))
            async with line_to(relay.url) as line:
                answer = await line.hello(genesis=stranger)
                assert isinstance(answer, Goodbye)
                assert answer.code is Farewell.NOT_A_MEMBER
            async with line_to(relay.url) as line:
                answer = await line.hello(protocol=PROTOCOL_VERSION + 1)
                assert isinstance(answer, Goodbye)
                assert answer.code is Farewell.PROTOCOL_VERSION

    asyncio.run(main())


@pytest.mark.parametrize("garbage", [b"", b"\0", b"\xff" * 1000, Ping().encode(), Upload((b"x",)).encode()])
def test_garbage_is_answered_with_goodbye_and_the_relay_goes_on(tmp_path: Path, garbage: bytes) -> None:
    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay:
            async with line_to(relay.url) as line:
                await line.receive()
                await line.connection.send(garbage)
                answer = await line.receive()
                assert isinstance(answer, Goodbye)
                assert answer.code is Farewell.MALFORMED
                with pytest.raises(ConnectionLost):
                    await line.receive()
            async with line_to(relay.url) as line:
                assert isinstance(await line.hello(), Welcome)

    asyncio.run(main())


def test_a_frame_past_the_limit_ends_that_connection_only(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay:
            async with line_to(relay.url) as line:
                await line.receive()
                await line.connection.send(bytes(3 << 20))
                with pytest.raises(ConnectionLost):
                    await line.receive()
            async with line_to(relay.url) as line:
                assert isinstance(await line.hello(), Welcome)

    asyncio.run(main())


def test_each_refused_envelope_is_answered_in_its_turn(tmp_path: Path) -> None:
    async def main() -> None:
        one, two, three = chain(keys_of(1), 3)
        fork = envelope(keys_of(1), 1, NO_ENVELOPE, salt=3)
        async with running_relay(tmp_path / "relay.db") as relay, line_to(relay.url) as line:
            await line.hello()
            await line.send(Upload((one.raw, fork.raw, three.raw, two.raw)))
            answers = [await line.receive() for _ in range(4)]
        codes = [a.code if isinstance(a, Refused) else a for a in answers]
        assert codes == [Stored(1), Refusal.FORK, Refusal.GAP, Stored(1)]

    asyncio.run(main())


def test_a_reader_that_reads_nothing_is_sent_no_more_than_the_window(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay:
            await upload(relay, 1, 30, size=100_000)
            async with line_to(relay.url) as line:
                await line.hello()
                await line.send(Want(VersionVector()))
                frames = [await line.receive() for _ in range(WINDOW_FRAMES)]
                await line.send(Ping())
                # Had the relay sent more frames, they would come before the answer.
                assert await line.receive() == Pong()
                assert isinstance(frames[0], Envelopes)
                await line.send(Read(frames[0].until))
                assert isinstance(await line.receive(), Envelopes)

    asyncio.run(main())


def test_a_reader_with_a_cursor_is_sent_what_comes_after_it_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay:
            await upload(relay, 1, 5)
            sealed = chain(keys_of(1), 5)
            async with line_to(relay.url) as line:
                welcome = await line.hello(birthday=relay.birthday, cursor=3)
                assert isinstance(welcome, Welcome)
                assert welcome.position == 5
                assert await line.receive() == Envelopes(0, Position(5), True, (sealed[3].raw, sealed[4].raw))

    asyncio.run(main())


def test_shutting_down_says_goodbye_and_frees_the_port(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay:
            port = relay.port
            async with line_to(relay.url) as line:
                await line.hello()
                await relay_stop_begun(relay)
                answer = await line.receive()
                assert isinstance(answer, Goodbye)
                assert answer.code is Farewell.SHUTTING_DOWN
        async with running_relay(tmp_path / "relay.db", port=port):
            pass

    asyncio.run(main())


async def relay_stop_begun(relay: Relay) -> None:
    for conversation in relay._conversations:
        conversation.shut_down()


def test_health_says_what_is_there_and_nothing_that_identifies_it(tmp_path: Path) -> None:
    def ask(url: str) -> dict[str, object]:
        with urllib.request.urlopen(url.replace("ws://", "http://") + "/healthz", timeout=SECONDS_MAX) as answer:  # noqa: S310
            found: dict[str, object] = json.loads(answer.read())
            return found

    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay:
            await upload(relay, 1, 3)
            health = await asyncio.to_thread(ask, relay.url)
            assert (health["ok"], health["spaces"], health["envelopes"]) == (True, 1, 3)
            assert set(health) == {"ok", "birthday", "spaces", "envelopes", "connections"}

    asyncio.run(main())


SERVE = """
import asyncio, sys
from driftlog.relay.server import RelayConfig, serve_forever
asyncio.run(serve_forever(RelayConfig(sys.argv[1], port=0), lambda relay: print(relay.url, flush=True)))
"""


def serve(path: Path) -> tuple["subprocess.Popen[str]", str]:
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.mark.slow
def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    sealed = chain(keys_of(1), 400)

    async def upload_and_kill(url: str, process: "subprocess.Popen[str]", begin: int, kill_after: int) -> int:
        async with line_to(url) as line:
            await line.hello()
            for one in sealed[begin : begin + kill_after * 3]:
                await line.send(Upload((one.raw,)))
            await line.acknowledged(kill_after)
            process.kill()
            return begin + kill_after

    acknowledged = 0
    for kill_after in (3, 17, 40):
        process, url = serve(path)
        with process:
            acknowledged = asyncio.run(upload_and_kill(url, process, acknowledged, kill_after))
        process, url = serve(path)
        with process:
            acknowledged = max(acknowledged, asyncio.run(position_at(url, at_least=acknowledged)))
            process.send_signal(signal.SIGTERM)
        assert process.returncode == 0


async def position_at(url: str, *, at_least: int) -> int:
    async with line_to(url) as line:
        welcome = await line.hello()
        assert isinstance(welcome, Welcome)
        assert welcome.position >= at_least
        return welcome.position


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send")
def test_sigterm_ends_the_relay_cleanly(tmp_path: Path) -> None:
    process, url = serve(tmp_path / "relay.db")
    with process:
        assert url.startswith("ws://127.0.0.1:")
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert not (tmp_path / "relay.db-wal").exists()


def test_a_relay_in_a_thread_can_be_stopped_wiped_and_started_at_the_same_address(tmp_path: Path) -> None:
    with relay_thread(tmp_path / "relay.db") as relay:
        url = relay.url
        assert asyncio.run(position_at(url, at_least=0)) == 0
        relay.stop()
        relay.start()
        relay.wipe()
        assert relay.url == url
        assert asyncio.run(position_at(url, at_least=0)) == 0


def test_a_port_that_is_taken_is_an_error_and_leaves_no_thread(tmp_path: Path) -> None:
    with relay_thread(tmp_path / "relay.db") as relay:
        port = int(relay.url.rsplit(":", 1)[1])
        with pytest.raises(OSError, match="address already in use"):
            RelayThread(tmp_path / "other.db", port=port).start()
