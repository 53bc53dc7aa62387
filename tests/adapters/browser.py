"""A browser for tests: reads server-sent events from a real socket, keeps a list by them, comes back with the last id."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import uvicorn
from starlette.types import ASGIApp

Rows = list[dict[str, Any]]


class Event(NamedTuple):
    """An event, or a comment, whose name is empty."""

    name: str
    id: str
    data: Any


class Browser:
    """One page with one `EventSource`, that shows what it was told."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.rows: Rows = []
        self.last_id = ""
        self.events: list[Event] = []
        self.status = b""
        self.headers: dict[str, str] = {}
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self, path: str = "/", *, method: str = "GET", receive_buffer: int | None = None) -> None:
        """Connect as a browser does: with the id of the last event that it has seen whole."""
        connection = socket.socket()
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port))
        self._reader, self._writer = await asyncio.open_connection(sock=connection, limit=1 << 14)
        seen = f"last-event-id: {self.last_id}\r\n" if self.last_id else ""
        # 1.0, because the body is then what is sent, and not in chunks of it.
        self._writer.write(f"{method} {path} HTTP/1.0\r\nhost: localhost\r\n{seen}\r\n".encode())
        self.status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        self.headers = {name: value for name, _, value in (line.decode().partition(": ") for line in lines)}

    async def next(self) -> Event:
        """Read an event or a comment, and do what it says. Raises `IncompleteReadError` where the stream ends."""
        assert self._reader
        name, id, data = "message", "", ""  # noqa: A001 - the field's name
        async with asyncio.timeout(10):
            while line := (await self._line()).decode():
                field, _, value = line.partition(": ")
                if field == ":":
                    await self._line()
                    self.events.append(Event("", "", None))
                    return self.events[-1]
                name, id, data = (  # noqa: A001
                    value if field == "event" else name,
                    value if field == "id" else id,
                    value if field == "data" else data,
                )
        event = Event(name, id, json.loads(data))
        self.last_id = id
        self.rows = event.data["rows"] if name == "answer" else applied(self.rows, event.data)
        self.events.append(event)
        return event

    async def _line(self) -> bytes:
        assert self._reader
        parts: list[bytes] = []
        while True:
            try:
                parts.append(await self._reader.readuntil(b"\n"))
            except asyncio.LimitOverrunError as error:
                parts.append(await self._reader.readexactly(error.consumed))
                continue
            return b"".join(parts)[:-1]

    async def leave(self) -> None:
        """Close the connection, whatever is on its way."""
        assert self._writer
        self._writer.transport.abort()


def applied(rows: Rows, change: dict[str, Any]) -> Rows:
    """Do to a list what a difference says, as a page does."""
    gone = {*change["removed"], *(before for before, _ in change["moved"])}
    after = [row for place, row in enumerate(rows) if place not in gone]
    put = [*change["added"], *([place, rows[before]] for before, place in change["moved"])]
    for place, row in sorted(put, key=lambda pair: int(pair[0])):
        after.insert(place, row)
    for place, row in change["changed"]:
        after[place] = row
    return after


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[int]:
    """Serve an app with uvicorn on a port of this machine, in this event loop, and give the port."""
    config = uvicorn.Config(app, lifespan="off", ws="none", log_config=None)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        await server.startup(sockets=[listening])
        try:
            yield listening.getsockname()[1]
        finally:
            # What still streams is cut off: it would never end by itself.
            server.force_exit = True
            for connection in list(server.server_state.connections):
                connection.transport.abort()
            await server.shutdown(sockets=[listening])
