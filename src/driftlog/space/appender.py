"""Group commit: appends of several threads that wait for one another share a transaction, and so one sync to disk.

Whoever gets the write lock first takes every append that is queued by then; the others find theirs done. Each stands in
a savepoint of its own, so that a rejected one takes nothing else with it.
"""

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from driftlog._core.clock import Timestamp
from driftlog._store.batches import Prepared
from driftlog._store.program import Rejection
from driftlog._store.store import Store
from driftlog.errors import EventRejected, StorageError
from driftlog.space.turns import Turns

GROUP_APPENDS_MAX: Final = 256
"""Bounds how long the first of a group waits for the rest: about 20 ms of work."""


class _Request:
    __slots__ = ("error", "is_done", "prepared", "timestamps")

    def __init__(self, prepared: Sequence[Prepared]) -> None:
        self.prepared = prepared
        self.timestamps: tuple[Timestamp, ...] = ()
        self.error: Exception | None = None
        self.is_done = False


class Appender:
    """Queues appends and runs them in groups under the write lock."""

    def __init__(self, store: Store, lock: Turns) -> None:
        self.store = store
        self._lock = lock
        self._queue: deque[_Request] = deque()

    def append(self, prepared: Sequence[Prepared]) -> tuple[Timestamp, ...]:
        """Append events, all or none; raises what their own append met, or what the whole group's transaction met."""
        if not self._queue and self._lock.take_if_free():
            # Nobody waits and nobody writes: no group to share with. Whoever comes now queues behind the lock.
            try:
                return self.store.append_alone(prepared)
            except Rejection as rejection:
                raise rejected(rejection) from rejection.__cause__
            finally:
                self._lock.let_go()
        request = _Request(prepared)
        self._queue.append(request)
        try:
            with self._lock:
                while not request.is_done:
                    self._run_group()
        except BaseException:
            # Interrupted while waiting: what nobody has taken yet must not be appended later, behind the caller's back.
            with suppress(ValueError):
                self._queue.remove(request)
            raise
        if request.error is not None:
            raise request.error
        return request.timestamps

    def _run_group(self) -> None:
        group: list[_Request] = []
        try:
            while self._queue and len(group) < GROUP_APPENDS_MAX:
                group.append(self._queue.popleft())
            with self.store.transaction():
                if len(group) == 1:
                    group[0].timestamps = self.store.append(group[0].prepared)
                else:
                    for request in group:
                        self._append_one(request)
        except Rejection as rejection:
            group[0].error = rejected(rejection)
        except Exception as error:  # noqa: BLE001 - it is raised in each of the threads whose append it undid
            self._fail(group, error)
        except BaseException as interrupt:
            # Meant for this thread. The commit may be behind us: then the others' appends are in the log.
            self._fail([request for request in group if not self._is_in_log(request)], _interrupted(interrupt))
            raise
        finally:
            for request in group:
                request.is_done = True

    def _fail(self, group: list[_Request], error: Exception) -> None:
        for request in group:
            request.error = request.error or error

    def _is_in_log(self, request: _Request) -> bool:
        return bool(request.timestamps) and self.store.log.holds(request.timestamps[0])

    def _append_one(self, request: _Request) -> None:
        try:
            with self.store.savepoint():
                request.timestamps = self.store.append(request.prepared)
        except Rejection as rejection:
            request.error = rejected(rejection)


def _interrupted(interrupt: BaseException) -> StorageError:
    return StorageError(f"the thread that was writing was interrupted ({type(interrupt).__name__}); append again")


def rejected(rejection: Rejection) -> EventRejected:
    """Give the error that an append raises, with the materializer's own error as its cause."""
    error = EventRejected(rejection.event_name, rejection.reason)
    error.__cause__ = rejection.__cause__
    return error
