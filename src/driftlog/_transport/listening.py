"""The relay's end of WebSockets: who may come in, how much they may say before they are known, and how all of it ends.

Connections are counted from the first packet on, finished handshake or not: a stranger who opens them and says nothing
takes as much of the relay as one who goes on. Leaves out frames and sessions (`relay.connection`).
"""

import asyncio
import contextlib
import http
import ipaddress
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as ws_serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from driftlog._protocol.limits import FRAME_BYTES_MAX, GREETING_FRAME_BYTES_MAX
from driftlog._transport.websocket import CLOSE_SECONDS_MAX, LIBRARY_LOG, QUEUE_FRAMES_MAX, WebSocketConnection

CONNECTIONS_MAX: Final = 20_000
"""The default: at some 50 KiB each, 1 GiB."""

CONNECTIONS_PER_ADDRESS_MAX: Final = 200
"""The default: an office behind one address has a place for everybody, and a stranger fills no relay from one machine."""

REFUSALS_OPEN_MAX: Final = 200
"""Connections past the limit that are kept open only to be told so. Beyond them one is cut without a word."""

HANDSHAKE_SECONDS_MAX: Final = 10
STOP_SECONDS_MAX: Final = 1.0
"""A relay that stops waits so long for handshakes and goodbyes under way, then cuts them."""

RELAY_WRITE_BUFFER_BYTES: Final = 64 << 10
"""A relay waits for each slow reader, instead of keeping what it does not read."""

UNREAD_BYTES_MAX: Final = 2 * FRAME_BYTES_MAX
"""A connection is cut that lets more than this wait: the relay's own frames never do, but the library answers each
WebSocket ping at once, read or not."""


class Doors:
    """Counts open connections, by address."""

    def __init__(self, connections_max: int, per_address_max: int) -> None:
        self._connections_max = connections_max
        self._per_address_max = per_address_max
        self._count = 0
        self._count_by_address: Counter[str] = Counter()

    def enter(self, address: str) -> http.HTTPStatus | None:
        """Count a connection, and say why it must go if it must; `leave` follows in any case."""
        self._count += 1
        self._count_by_address[address] += 1
        if self._count > self._connections_max:
            return http.HTTPStatus.SERVICE_UNAVAILABLE
        if self._count_by_address[address] > self._per_address_max and not _is_own(address):
            return http.HTTPStatus.TOO_MANY_REQUESTS
        return None

    def leave(self, address: str) -> None:
        """Count it no more."""
        self._count -= 1
        self._count_by_address[address] -= 1
        if not self._count_by_address[address]:
            del self._count_by_address[address]

    @property
    def is_crowded(self) -> bool:
        """Tell whether there is no place even for refusing."""
        return self._count > self._connections_max + REFUSALS_OPEN_MAX


class RelayConnection(WebSocketConnection):
    """A connection to a device, which may say little until it is known."""

    def __init__(self, socket: ServerConnection) -> None:
        super().__init__(socket)
        self._protocol = socket.protocol

    def allow_full_frames(self) -> None:
        """Take frames of any legal size from now on."""
        # The library reads its limit anew for every frame; releases call it by either name.
        for name in ("max_message_size", "max_size"):
            setattr(self._protocol, name, FRAME_BYTES_MAX)


class Listener:
    """A port that is listened on, between `listen` and `stop`."""

    def __init__(self, doors: Doors) -> None:
        self.doors = doors
        self.sockets: set[ServerConnection] = set()
        self._server: Server | None = None

    @property
    def port(self) -> int:
        """The port, also if any free one was asked for."""
        assert self._server is not None, "listen() comes first"
        port: int = next(iter(self._server.sockets)).getsockname()[1]
        return port

    async def listen(
        self,
        handler: Callable[[RelayConnection], Awaitable[None]],
        host: str,
        port: int,
        *,
        health: Callable[[], Awaitable[tuple[bool, bytes]]],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Run `handler` for each connection until it returns.

        `GET /healthz` answers the JSON that `health()` gives, with status 503 if it says that not all is well.
        """

        async def handle(socket: ServerConnection) -> None:
            await handler(RelayConnection(socket))

        async def process_request(socket: ServerConnection, request: Request) -> Response | None:
            assert isinstance(socket, _Socket)
            if socket.refusal is not None:
                return socket.respond(
                    socket.refusal, "This relay has as many connections as it takes; try again later.\n"
                )
            return _health(*await health()) if request.path == "/healthz" else None

        listener = self

        class Socket(_Socket):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                self.address = _address(transport)
                self.refusal = listener.doors.enter(self.address)
                listener.sockets.add(self)
                if listener.doors.is_crowded:
                    self.transport.abort()

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                listener.sockets.discard(self)
                listener.doors.leave(self.address)

        self._server = await ws_serve(
            handle,
            host,
            port,
            process_request=process_request,
            create_connection=Socket,
            compression=None,
            open_timeout=HANDSHAKE_SECONDS_MAX,
            close_timeout=CLOSE_SECONDS_MAX,
            ping_interval=None,
            max_size=GREETING_FRAME_BYTES_MAX,
            max_queue=QUEUE_FRAMES_MAX,
            write_limit=RELAY_WRITE_BUFFER_BYTES,
            server_header="driftlog",
            logger=LIBRARY_LOG,
            ssl=tls,
        )

    def refuse_new(self) -> None:
        """Let nobody in any more."""
        assert self._server is not None, "listen() comes first"
        self._server.close(close_connections=False)

    async def stop(self) -> None:
        """Let go of the port; whoever is still there a second later is cut, a silent one in its handshake too."""
        assert self._server is not None, "listen() comes first"
        self.refuse_new()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), STOP_SECONDS_MAX)
        for socket in tuple(self.sockets):
            socket.transport.abort()
        await self._server.wait_closed()


class _Socket(ServerConnection):
    address = ""
    refusal: http.HTTPStatus | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            self.transport.abort()


def _address(transport: asyncio.BaseTransport) -> str:
    """Give what stands for one machine: an IPv4 address, or an IPv6 network of 64 bits, of which each machine has one."""
    came_from = transport.get_extra_info("peername")
    host = str(came_from[0]) if came_from else ""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4 or address.is_loopback:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False).network_address)


def _is_own(address: str) -> bool:
    # A proxy that speaks TLS on this machine brings everybody from here: to count them by address is its work.
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _health(is_well: bool, body: bytes) -> Response:
    # By the status, too: whoever watches a relay may look at no more than that.
    status = http.HTTPStatus.OK if is_well else http.HTTPStatus.SERVICE_UNAVAILABLE
    headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status, status.phrase, headers, body)
