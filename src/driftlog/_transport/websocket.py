"""Frames over WebSockets: one frame, one binary message. Both ends, `ws://` and `wss://`.

Compression is off: envelopes are ciphertext. The library's keepalive is off: the session asks for itself, and a frame
that is being applied must not look like silence.
"""

import asyncio
import http
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from websockets.asyncio.client import connect as ws_connect
from websockets.asyncio.connection import Connection as Socket
from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as ws_serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.http11 import Request, Response

from driftlog._protocol.limits import FRAME_BYTES_MAX, UPLOAD_WINDOW_BYTES
from driftlog._transport.base import ConnectionLost

OPEN_SECONDS_MAX: Final = 15
CLOSE_SECONDS_MAX: Final = 3
SEND_SECONDS_MAX: Final = 120
"""A message that is not on its way by then never will be: at its largest that is 70 kbit/s."""

QUEUE_FRAMES_MAX: Final = 2
"""Messages that wait to be received. Each may be 1 MiB, and a relay has thousands of connections."""

RELAY_WRITE_BUFFER_BYTES: Final = 64 << 10
"""A relay waits for each slow reader, instead of keeping what it does not read."""

DEVICE_WRITE_BUFFER_BYTES: Final = 2 * UPLOAD_WINDOW_BYTES
"""A device has one relay, and its session bounds what is on its way: sending never waits, so nothing else does."""

_LIBRARY_LOG = logging.getLogger("driftlog.websockets")
"""Quiet: the library tells of every connection, and of every visit to `/healthz` as of a failure."""
_LIBRARY_LOG.setLevel(logging.ERROR)


class WebSocketConnection:
    """A `Connection` over one WebSocket."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    async def send(self, data: bytes) -> None:
        """Hand over one message."""
        try:
            async with asyncio.timeout(SEND_SECONDS_MAX):
                await self._socket.send(data)
        except ConnectionClosed as error:
            raise ConnectionLost(_closed_text(error)) from error
        except TimeoutError as error:
            raise ConnectionLost(f"a message of {len(data)} bytes could not be sent in {SEND_SECONDS_MAX} s") from error

    async def receive(self) -> bytes:
        """Give the next message."""
        try:
            message = await self._socket.recv()
        except ConnectionClosed as error:
            raise ConnectionLost(_closed_text(error)) from error
        if isinstance(message, str):
            await self.close("text messages are not part of this protocol")
            raise ConnectionLost("the other end sent text: it does not speak Driftlog's protocol")
        return message

    async def close(self, reason: str) -> None:
        """Close, after what was sent."""
        try:
            # The library waits for its write buffer before its own timeout begins: an end that reads nothing would
            # hold us for ever.
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                # The close frame holds 123 bytes of reason; a cut character would make the library raise.
                await self._socket.close(reason=reason.encode()[:120].decode(errors="ignore"))
        except TimeoutError:
            self._socket.transport.abort()


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[WebSocketConnection]:
    """Open a connection to a relay's `ws://` or `wss://` URL. Certificates are checked against the system's."""
    try:
        socket = await ws_connect(
            url,
            compression=None,
            open_timeout=OPEN_SECONDS_MAX,
            close_timeout=CLOSE_SECONDS_MAX,
            ping_interval=None,
            max_size=FRAME_BYTES_MAX,
            max_queue=QUEUE_FRAMES_MAX,
            write_limit=DEVICE_WRITE_BUFFER_BYTES,
            logger=_LIBRARY_LOG,
        )
    except (OSError, InvalidURI, InvalidHandshake, ValueError) as error:
        raise ConnectionLost(connect_text(url, error)) from error
    connection = WebSocketConnection(socket)
    try:
        yield connection
    finally:
        await connection.close("")


async def serve(
    handler: Callable[[WebSocketConnection], Awaitable[None]],
    host: str,
    port: int,
    *,
    health: Callable[[], Awaitable[bytes]],
    tls: ssl.SSLContext | None = None,
) -> Server:
    """Listen, and run `handler` for each connection until it returns. `GET /healthz` answers `health()` as JSON."""

    async def handle(socket: ServerConnection) -> None:
        await handler(WebSocketConnection(socket))

    async def process_request(_: ServerConnection, request: Request) -> Response | None:
        if request.path != "/healthz":
            return None
        body = await health()
        headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"})
        return Response(http.HTTPStatus.OK, "OK", headers, body)

    return await ws_serve(
        handle,
        host,
        port,
        process_request=process_request,
        compression=None,
        open_timeout=OPEN_SECONDS_MAX,
        close_timeout=CLOSE_SECONDS_MAX,
        ping_interval=None,
        max_size=FRAME_BYTES_MAX,
        max_queue=QUEUE_FRAMES_MAX,
        write_limit=RELAY_WRITE_BUFFER_BYTES,
        server_header="driftlog",
        logger=_LIBRARY_LOG,
        ssl=tls,
    )


def connect_text(url: str, error: Exception) -> str:
    """Say to a person why a connection could not be opened."""
    match error:
        case InvalidURI() | ValueError():
            return f"{url!r} is not a relay's address; one begins with ws:// or wss://"
        case InvalidStatus():
            return f"{url} answered HTTP {error.response.status_code}: it is not a Driftlog relay"
        case InvalidHandshake():
            return f"{url} did not answer as a WebSocket server: {error}"
        case ssl.SSLCertVerificationError():
            return f"{url} could not show that it is who it says: {error.verify_message}"
        case TimeoutError():
            return f"{url} did not answer within {OPEN_SECONDS_MAX} s"
        case ConnectionRefusedError():
            return f"nothing answers at {url}: is the relay running?"
        case OSError():
            return f"{url} cannot be reached: {error.strerror or error}"
        case _:
            return f"{url} cannot be reached: {error}"


def _closed_text(error: ConnectionClosed) -> str:
    if error.rcvd is not None and error.rcvd.reason:
        return f"the other end closed the connection: {error.rcvd.reason}"
    if error.rcvd is not None:
        return "the other end closed the connection"
    return "the connection was lost"
