"""Those who wait until an event is settled: each is called once, when it is."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import NamedTuple

from driftlog._core.clock import Timestamp
from driftlog.errors import Closed, DriftlogError

_log = logging.getLogger("driftlog")

OnSettled = Callable[[Timestamp | None], None]
"""Gets what is settled now, or None if the space was closed before."""


class _Wait(NamedTuple):
    timestamp: Timestamp
    callback: OnSettled


class Settling:
    """The waits of one open space."""

    def __init__(self, settled: Callable[[], Timestamp | None]) -> None:
        self._settled = settled
        self._lock = Lock()
        self._wait_by_key: dict[object, _Wait] = {}

    def add(self, timestamp: Timestamp, callback: OnSettled) -> Callable[[], None]:
        """Wait for a timestamp; gives the function that ends the wait."""
        key = object()
        with self._lock:
            self._wait_by_key[key] = _Wait(timestamp, callback)

        def remove() -> None:
            self._take(key)

        return remove

    def is_anybody_waiting(self) -> bool:
        """Tell whether there is a reason to look."""
        return bool(self._wait_by_key)

    def look(self) -> None:
        """Call those whose event is settled. Called without the write lock."""
        try:
            settled = self._settled()
        except DriftlogError:
            # Whoever wrote has written, and must not be told otherwise; the next one to write looks again.
            _log.exception("what is settled could not be read, so nobody was told; the next write tries again")
            return
        if settled is not None:
            self._end([key for key, wait in self._waits() if wait.timestamp <= settled], settled)

    def close(self) -> None:
        """End all waits in vain."""
        self._end([key for key, _ in self._waits()], None)

    def _waits(self) -> list[tuple[object, _Wait]]:
        with self._lock:
            return sorted(self._wait_by_key.items(), key=lambda item: item[1].timestamp)

    def _take(self, key: object) -> _Wait | None:
        with self._lock:
            return self._wait_by_key.pop(key, None)

    def _end(self, keys: list[object], settled: Timestamp | None) -> None:
        for key in keys:
            wait = self._take(key)
            if wait is None:
                continue
            try:
                wait.callback(settled)
            except Exception:  # noqa: BLE001 - a callback is the app's code, and raises what it likes
                _log.exception("%r raised when %s was settled; mend the callback", wait.callback, wait.timestamp)


async def settle(settling: Settling, deliver: Callable[[], None], timestamp: Timestamp, path: str) -> Timestamp:
    """Wait for a timestamp in an event loop; `deliver` looks once, for what is settled already."""
    loop = asyncio.get_running_loop()
    reached: asyncio.Future[Timestamp | None] = loop.create_future()

    def set_reached(settled: Timestamp | None) -> None:
        if not reached.done():
            reached.set_result(settled)

    def wake(settled: Timestamp | None) -> None:
        # From any thread; once the loop is closed nobody waits any more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(set_reached, settled)

    remove = settling.add(timestamp, wake)
    try:
        await asyncio.to_thread(deliver)
        settled = await reached
    finally:
        remove()
    if settled is None:
        raise Closed(f"the space at {path} was closed before {timestamp} was settled; open it and wait again")
    return settled
