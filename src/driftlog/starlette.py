"""Live queries in a browser: a Starlette response that streams answers as server-sent events, and is resumed by their ids.

An event is either a whole `answer` or a `difference` from the one before, and its id is a hash of the answer that it leads
to. A browser that has lost the connection sends the last id it has seen. If the answer is still that one, nothing is sent;
if what it was is remembered, the difference from it; otherwise the whole answer. So nothing is missed or doubled, whoever
else the browser is connected to by then: an id means the same to every process, and after a restart.

Whoever reads slowly is sent the newest answer when there is room, and none in between. Nothing is queued.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from hashlib import blake2b
from threading import Lock
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

try:
    from starlette.requests import Request
    from starlette.responses import StreamingResponse
    from starlette.types import Receive, Scope, Send
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'Starlette answers browsers, and is not installed: pip install "driftlog[starlette]"', name=error.name
    ) from None

import msgspec

from driftlog._reactive.difference import Difference, difference
from driftlog._sqlite.rows import Parameters, Row
from driftlog.space.answer import Answer
from driftlog.space.space import Space

__all__ = ["LiveResponse"]

HEARTBEAT_S: Final = 15.0
"""Between two signs of life. Proxies commonly cut a connection that has been silent for 30 to 60 seconds."""
ANSWERS_MAX: Final = 256
"""Of those remembered for a space. Who comes back later than so many other answers is sent a whole one."""
BYTES_MAX: Final = 16 << 20
"""Of all answers remembered for a space together, as they are sent; in memory they take some times that."""

_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""The second keeps nginx from holding events back until a buffer is full."""
_BEAT: Final = b":\n\n"
"""A comment: a browser tells nobody of it."""


class LiveResponse(StreamingResponse):
    """A query's answers as server-sent events, from now until the browser goes or the space is closed.

    `request` says where to resume; `key` is as with `space.subscribe`. Without `differences`, each event is a whole answer.
    The query is run in the event loop's thread. Who may ask what is the app's to check before. What `space.subscribe` would
    raise is raised before anything is sent; if the query cannot be run any more, the connection breaks off, and the browser
    comes back by itself.

    Events: `answer` with `{"rows": [row, …]}`, `difference` with `{"removed": [place, …], "moved": [[before, place], …],
    "added": [[place, row], …], "changed": [[place, row], …]}`, to be carried out as `Difference.apply` says; a row is an
    object by column names, and bytes are base64. `docs/adapters.md` has the ten lines that a page needs.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        request: Request,
        space: Space,
        sql: str,
        parameters: Parameters = (),
        *,
        key: Sequence[str] | None = None,
        differences: bool = True,
        heartbeat_s: float = HEARTBEAT_S,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__((), headers={**_HEADERS, **(headers or {})})
        self._space = space
        self._asked = (sql, parameters, key)
        self._has_differences = differences
        self._heartbeat_s = heartbeat_s
        self._seen = request.headers.get("last-event-id", "")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until there are no more, or the browser has gone."""
        if scope["method"] == "HEAD":
            # Answered, because Starlette routes it with GET, and the stream that it must not be sent would never end.
            await self.stream_response(send)
            return
        sql, parameters, key = self._asked
        answers = self._space.live(sql, parameters, key=key)
        assert isinstance(answers, AsyncGenerator), "it has to be closed here, not whenever it is collected"
        async with aclosing(answers):
            # Waited for before anything is sent, so that an error can still be an answer of its own.
            first = await _next(answers)
            async with aclosing(self._events(first, answers)) as events:
                self.body_iterator = events
                await self._send(receive, send)

    async def _send(self, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(self.listen_for_disconnect(receive))
        sent = asyncio.create_task(self.stream_response(send))
        try:
            await asyncio.wait({gone, sent}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            sent.cancel()
            # An error of one of them is raised below. Servers raise OSError where the browser has gone: that is no error.
            _, failed = await asyncio.gather(gone, sent, return_exceptions=True)
        if isinstance(failed, Exception) and not isinstance(failed, OSError):
            raise failed

    async def _events(self, first: Answer | None, answers: AsyncGenerator[Answer, None]) -> AsyncGenerator[bytes, None]:
        states = _states_of(self._space)
        if first is not None:
            known = states.find(self._seen)
            now = states.enter(first.rows)
            if now.id == self._seen:
                # Something is sent all the same, so that the browser knows that it is connected.
                yield _BEAT
            else:
                # An id is of a space. That of another query says nothing of rows that have other columns.
                found = None
                if known is not None and _are_alike(known.rows, first.rows):
                    found = difference(known.rows, first.rows, first.key_of)
                yield self._event(first, found, now)
        coming = asyncio.create_task(_next(answers))
        try:
            while True:
                await asyncio.wait({coming}, timeout=self._heartbeat_s)
                if not coming.done():
                    yield _BEAT
                    continue
                answer = coming.result()
                if answer is None:
                    return
                yield self._event(answer, answer.difference, states.enter(answer.rows))
                # Asked for only now that there was room for the last one: what has come in between is skipped.
                coming = asyncio.create_task(_next(answers))
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    def _event(self, answer: Answer, since: Difference | None, state: "_State") -> bytes:
        """Write an event: the difference, if there is one and it is the shorter."""
        if since is not None and self._has_differences:
            data = _encode(_plain(since))
            if len(data) < state.size:
                return b"event: difference\nid: %b\ndata: %b\n\n" % (state.id.encode(), data)
        return b"event: answer\nid: %b\ndata: %b\n\n" % (state.id.encode(), _whole(answer.rows))


def _are_alike(before: tuple[Row, ...], rows: tuple[Row, ...]) -> bool:
    return not before or not rows or list(before[0]._asdict()) == list(rows[0]._asdict())


class _State(NamedTuple):
    """One answer that somebody was sent."""

    id: str
    rows: tuple[Row, ...]
    size: int
    """Of the whole answer as an event."""


class _States:
    """The answers of a space that are remembered, by their ids. Those that were longest not current are forgotten first."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._state_by_id: OrderedDict[str, _State] = OrderedDict()
        self._bytes = 0

    def find(self, id: str) -> _State | None:  # noqa: A002 - the field's name, in the specification of such events
        """Give the answer with an id, if it is remembered."""
        return self._state_by_id.get(id)

    def enter(self, rows: tuple[Row, ...]) -> _State:
        """Give an answer its id, and remember it, unless it is too long."""
        with self._lock:
            # All who ask the same are told the same tuple: it is hashed for the first of them.
            state = next((one for one in reversed(self._state_by_id.values()) if one.rows is rows), None)
            if state is None:
                data = _whole(rows)
                state = _State(blake2b(data, digest_size=16).hexdigest(), rows, len(data))
            if state.size > BYTES_MAX:
                return state
            if self._state_by_id.pop(state.id, None) is None:
                self._bytes += state.size
            self._state_by_id[state.id] = state
            while len(self._state_by_id) > ANSWERS_MAX or self._bytes > BYTES_MAX:
                _, oldest = self._state_by_id.popitem(last=False)
                self._bytes -= oldest.size
            return state


_states_by_space: WeakKeyDictionary[Space, _States] = WeakKeyDictionary()


def _states_of(space: Space) -> _States:
    return _states_by_space.setdefault(space, _States())


async def _next(answers: AsyncGenerator[Answer, None]) -> Answer | None:
    async for answer in answers:
        return answer
    return None


def _encode(value: object) -> bytes:
    return msgspec.json.encode(value)


def _whole(rows: tuple[Row, ...]) -> bytes:
    return _encode({"rows": [row._asdict() for row in rows]})


def _plain(since: Difference) -> object:
    return {
        "removed": [one.index for one in since.removed],
        "moved": [(one.before, one.index) for one in since.moved],
        "added": [(one.index, one.row._asdict()) for one in since.added],
        "changed": [(one.index, one.row._asdict()) for one in since.changed],
    }
