"""The device's end of a WebSocket, against an end that reads nothing."""

import asyncio

import pytest
from websockets.asyncio.server import ServerConnection, serve

from driftlog._protocol.limits import UPLOAD_WINDOW_BYTES
from driftlog._transport.base import Connection, ConnectionLost
from driftlog._transport.websocket import DEVICE_WRITE_BUFFER_BYTES, connect

SECONDS_MAX = 20


async def send_much(connection: Connection) -> None:
    for _ in range(64):
        await connection.send(bytes(1 << 20))


def test_sending_to_an_end_that_reads_nothing_never_waits_and_ends_past_a_bound() -> None:
    async def main() -> None:
        is_over = asyncio.Event()

        async def read_nothing(socket: ServerConnection) -> None:
            socket.transport.pause_reading()
            await is_over.wait()
            socket.transport.abort()

        async with serve(read_nothing, "127.0.0.1", 0, compression=None) as server:
            port = server.sockets[0].getsockname()[1]
            async with asyncio.timeout(SECONDS_MAX), connect(f"ws://127.0.0.1:{port}") as connection:
                with pytest.raises(ConnectionLost, match="reads nothing"):
                    await send_much(connection)
                is_over.set()

    asyncio.run(main())
    assert DEVICE_WRITE_BUFFER_BYTES > UPLOAD_WINDOW_BYTES
