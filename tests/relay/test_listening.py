"""Who may come in to a relay, how much is taken from them before they are known, and that stopping waits for nobody."""

import asyncio
from http import HTTPStatus
from pathlib import Path

import pytest
from websockets.asyncio.client import connect as ws_connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidStatus

from driftlog._protocol.limits import GREETING_FRAME_BYTES_MAX
from driftlog._protocol.messages import Farewell, Goodbye, Stored, Upload, Welcome
from driftlog._transport import listening
from driftlog._transport.base import ConnectionLost
from driftlog._transport.listening import REFUSALS_OPEN_MAX, Doors, Listener
from driftlog.relay import connection
from driftlog.relay.server import Relay, RelayConfig, running_relay
from tests.protocol.fakes import chain, keys_of
from tests.relay.test_relay import line_to


def sockets_of(relay: Relay) -> set[ServerConnection]:
    """Give the sockets that are open at a relay."""
    assert isinstance(relay._listener, Listener)
    return relay._listener.sockets


SECONDS_MAX = 5


def test_past_the_limit_of_all_or_of_one_address_there_is_no_entry_until_somebody_leaves() -> None:
    doors = Doors(connections_max=3, per_address_max=2)
    first, second = "192.0.2.1", "192.0.2.2"
    assert [doors.enter(first) for _ in range(3)] == [None, None, HTTPStatus.TOO_MANY_REQUESTS]
    assert doors.enter(second) is HTTPStatus.SERVICE_UNAVAILABLE

    for address in (first, first, second):
        doors.leave(address)

    assert doors.enter(first) is None
    assert doors.enter(second) is None


def test_this_machines_own_are_not_counted_by_address() -> None:
    doors = Doors(connections_max=9, per_address_max=1)
    assert [doors.enter(address) for address in ("127.0.0.1", "127.0.0.1", "::1", "::1")] == [None] * 4


@pytest.mark.parametrize(
    ("name", "address"),
    [("192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3::4", "2001:db8:1:2::"), ("fe80::1%eth0", "fe80::"), ("::1", "::1")],
)
def test_an_ipv6_network_of_64_bits_counts_as_one_address(name: str, address: str) -> None:
    assert listening._address(From(name)) == address


class From(asyncio.BaseTransport):
    def __init__(self, host: str) -> None:
        super().__init__({"peername": (host, 1234)})


def test_there_is_a_limit_to_those_who_are_let_in_to_be_refused() -> None:
    doors = Doors(connections_max=1, per_address_max=1)
    for _ in range(1 + REFUSALS_OPEN_MAX):
        doors.enter("192.0.2.1")
    assert not doors.is_crowded
    doors.enter("192.0.2.1")
    assert doors.is_crowded


def test_a_connection_too_many_is_refused_with_a_status_and_its_place_is_free_again_when_one_ends(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        relay = Relay(RelayConfig(tmp_path / "relay.db", port=0, connections_max=1))
        await relay.start()
        try:
            async with line_to(relay.url) as line:
                await line.hello()
                with pytest.raises(InvalidStatus) as refused:
                    await ws_connect(relay.url)
                assert refused.value.response.status_code == HTTPStatus.SERVICE_UNAVAILABLE
            while sockets_of(relay):
                await asyncio.sleep(0)
            async with line_to(relay.url) as line:
                assert isinstance(await line.hello(), Welcome)
        finally:
            await relay.stop()

    asyncio.run(main())


def test_where_there_is_no_place_even_for_refusing_a_connection_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "REFUSALS_OPEN_MAX", 0)

    async def main() -> None:
        relay = Relay(RelayConfig(tmp_path / "relay.db", port=0, connections_max=0))
        await relay.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        async with asyncio.timeout(SECONDS_MAX):
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
        writer.close()
        await relay.stop()

    asyncio.run(main())


def test_a_device_that_is_not_known_yet_may_send_4_kib_and_a_known_one_a_whole_frame(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay:
            async with line_to(relay.url) as line:
                await line.receive()
                await line.connection.send(bytes(GREETING_FRAME_BYTES_MAX + 1))
                # Were it read, a GOODBYE would come.
                with pytest.raises(ConnectionLost):
                    await line.receive()
            async with line_to(relay.url) as line:
                await line.hello()
                (large,) = chain(keys_of(1), 1, size=900_000)
                await line.send(Upload((large.raw,)))
                assert await line.receive() == Stored(1)

    asyncio.run(main())


def test_a_device_that_says_nothing_is_told_goodbye_sooner_than_a_known_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "GREETING_MS_MAX", 1)

    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay, line_to(relay.url) as line:
            await line.receive()
            answer = await line.receive()
            assert isinstance(answer, Goodbye)
            assert answer.code is Farewell.SILENT

    asyncio.run(main())


def test_a_connection_that_lets_its_answers_wait_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "UNREAD_BYTES_MAX", 1 << 16)

    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay:
            socket = await ws_connect(relay.url, ping_interval=None, close_timeout=0)
            socket.transport.pause_reading()
            ping = b"\x89\xfd" + bytes(4) + bytes(125)
            async with asyncio.timeout(SECONDS_MAX):
                while sockets_of(relay):
                    socket.transport.write(ping * 500)
                    await asyncio.sleep(0)
            socket.transport.abort()

    asyncio.run(main())


def test_stopping_does_not_wait_for_a_connection_that_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "STOP_SECONDS_MAX", 0.01)

    async def main() -> None:
        relay = Relay(RelayConfig(tmp_path / "relay.db", port=0))
        await relay.start()
        _, writer = await asyncio.open_connection("127.0.0.1", relay.port)
        while not sockets_of(relay):
            await asyncio.sleep(0)
        async with asyncio.timeout(SECONDS_MAX):
            await relay.stop()
        writer.close()

    asyncio.run(main())
