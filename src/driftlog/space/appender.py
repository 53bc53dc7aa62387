"""Group commit: appends of several threads that wait for one another share a transaction, and so one sync to disk.

Whoever gets the write lock first takes every append that is queued by then; the others find theirs done. Each stands in
a savepoint of its own, so that a rejected one takes nothing else with it.
"""

from collections import deque
from collections.abc import Sequence
from threading import RLock
from typing import Final

from driftlog._core.clock import Timestamp
from driftlog._store.program import Rejection
from driftlog._store.store import Prepared, Store
from driftlog.errors import EventRejected

GROUP_APPENDS_MAX: Final = 256
"""Bounds how long the first of a group waits for the rest: about 20 ms of work."""


class _Request:
    __slots__ = ("error", "is_done", "prepared", "timestamps")

    def __init__(self, prepared: Sequence[Prepared]) -> None:
        self.prepared = prepared
        self.timestamps: tuple[Timestamp, ...] = ()
        self.error: BaseException | None = None
        self.is_done = False


class Appender:
    """Queues appends and runs them in groups under the write lock."""

    def __init__(self, store: Store, lock: RLock) -> None:
        self._store = store
        self._lock = lock
        self._queue: deque[_Request] = deque()

    def append(self, prepared: Sequence[Prepared]) -> tuple[Timestamp, ...]:
        """Append events, all or none; raises what their own append met, or what the whole group's transaction met."""
        request = _Request(prepared)
        self._queue.append(request)
        with self._lock:
            while not request.is_done:
                self._run_group()
        if request.error is not None:
            raise request.error
        return request.timestamps

    def _run_group(self) -> None:
        group = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP_APPENDS_MAX))]
        try:
            with self._store.transaction():
                if len(group) == 1:
                    group[0].timestamps = self._store.append(group[0].prepared)
                else:
                    for request in group:
                        self._append_one(request)
        except Rejection as rejection:
            group[0].error = rejected(rejection)
        except BaseException as error:  # noqa: BLE001 - it is raised in each of the threads whose append it undid
            for request in group:
                request.error = error
        for request in group:
            request.is_done = True

    def _append_one(self, request: _Request) -> None:
        try:
            with self._store.savepoint():
                request.timestamps = self._store.append(request.prepared)
        except Rejection as rejection:
            request.error = rejected(rejection)


def rejected(rejection: Rejection) -> EventRejected:
    """Give the error that an append raises, with the materializer's own error as its cause."""
    error = EventRejected(rejection.event_name, rejection.reason)
    error.__cause__ = rejection.__cause__
    return error
