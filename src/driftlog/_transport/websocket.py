"""Frames over WebSockets: one frame, one binary message. A device's end, and what both have; a relay's is `listening`.

Compression is off: envelopes are ciphertext. The library's keepalive is off: the session asks for itself, and a frame
that is being applied must not look like silence.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from websockets.asyncio.client import connect as ws_connect
from websockets.asyncio.connection import Connection as Socket
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from driftlog._protocol.limits import FRAME_BYTES_MAX, UPLOAD_WINDOW_BYTES
from driftlog._transport.base import ConnectionLost

OPEN_SECONDS_MAX: Final = 15
CLOSE_SECONDS_MAX: Final = 3
SEND_SECONDS_MAX: Final = 120
"""A message that is not on its way by then never will be: at its largest that is 70 kbit/s."""

QUEUE_FRAMES_MAX: Final = 2
"""Messages that wait to be received. Each may be 1 MiB, and a relay has thousands of connections."""

DEVICE_WRITE_BUFFER_BYTES: Final = 2 * UPLOAD_WINDOW_BYTES
"""A device has one relay, and its session bounds what is on its way: sending never waits, so nothing else does. What goes
past this is answers to a relay that asks without end and reads nothing; it is hung up on."""

LIBRARY_LOG = logging.getLogger("driftlog.websockets")
"""Quiet: the library tells of every connection, and of every visit to `/healthz` as of a failure."""
LIBRARY_LOG.setLevel(logging.ERROR)


class WebSocketConnection:
    """A `Connection` over one WebSocket."""

    def __init__(self, socket: Socket, *, unsent_bytes_max: int | None = None) -> None:
        self._socket = socket
        self._unsent_bytes_max = unsent_bytes_max

    async def send(self, data: bytes) -> None:
        """Hand over one message."""
        unsent_bytes = self._socket.transport.get_write_buffer_size()
        if self._unsent_bytes_max is not None and unsent_bytes + len(data) > self._unsent_bytes_max:
            raise ConnectionLost(f"the other end reads nothing: {unsent_bytes} bytes wait to be sent")
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
            logger=LIBRARY_LOG,
        )
    except (OSError, InvalidURI, InvalidHandshake, ValueError) as error:
        raise ConnectionLost(connect_text(url, error)) from error
    connection = WebSocketConnection(socket, unsent_bytes_max=DEVICE_WRITE_BUFFER_BYTES)
    try:
        yield connection
    finally:
        await connection.close("")


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
