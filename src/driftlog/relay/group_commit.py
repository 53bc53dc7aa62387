"""Group commit: while one transaction is being synced, everybody's uploads gather for the next.

One thread writes, lent by the event loop's executor for one transaction after the other. Nothing is answered before the
transaction that holds it has returned, and when that fails, everything in it fails: an acknowledgement stands for bytes on
the disk (P23). Only where one space is damaged is what is left of the transaction tried again, without it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from driftlog._core.ids import SpaceId
from driftlog._protocol.relay_session import Accepted, Outcome
from driftlog.errors import StorageError
from driftlog.relay.store import DamagedSpace, Job, StoreWriter

COMMIT_BYTES_MAX: Final = 8 << 20
"""A transaction takes no more than this: at 100 MB/s the last in the queue waits 80 ms for it."""

COMMIT_ENVELOPES_MAX: Final = 500
"""Nor more than this, an upload that is begun included whole: at 20 µs each the writer is held for 10 ms. A transaction of
the smallest envelopes up to the bytes above would be 300."""

WAITING_BYTES_MAX: Final = 32 << 20
"""Uploads that wait to be written, of all connections. Beyond it the relay stops reading from its sockets."""

_LOG = logging.getLogger("driftlog.relay")


@dataclass(frozen=True, slots=True)
class _Waiting:
    job: Job
    answer: "asyncio.Future[tuple[Outcome, ...]]"


class GroupCommit:
    """Commits what is waiting, again and again. Made and called on the event loop; only the transactions run beside it."""

    def __init__(self, store: StoreWriter, on_growth: Callable[[Iterable[SpaceId]], None]) -> None:
        self._store = store
        self._on_growth = on_growth
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[_Waiting | None] = asyncio.Queue()
        self._waiting_bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._writer = ThreadPoolExecutor(1, "driftlog-relay-writer")
        self._committing = self._loop.create_task(self._run())

    async def store(self, job: Job) -> tuple[Outcome, ...]:
        """Store durably; raises `StorageError` if the file failed, and then nothing of it is stored."""
        while self._waiting_bytes >= WAITING_BYTES_MAX:
            self._room.clear()
            await self._room.wait()
        self._waiting_bytes += job.size
        waiting = _Waiting(job, self._loop.create_future())
        self._queue.put_nowait(waiting)
        return await waiting.answer

    async def stop(self) -> None:
        """Commit what is waiting, then end, and let go of the file."""
        self._queue.put_nowait(None)
        await self._committing
        self._writer.shutdown()
        self._store.close()

    async def _run(self) -> None:
        while (first := await self._queue.get()) is not None:
            batch, is_last = self._gather(first)
            while batch:
                batch = await self._commit(batch)
            if is_last:
                return

    async def _commit(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Commit, and give what is to be committed again: each time less, by a damaged space's uploads."""
        jobs = [waiting.job for waiting in batch]
        try:
            outcomes = await self._loop.run_in_executor(self._writer, self._store.commit, jobs)
        except DamagedSpace as error:
            # The file and its connection are as before. To open it anew would write all of the WAL into it, each time
            # that a device of this space tries again.
            hit, rest = _parted(batch, error.space)
            self._failed(hit or batch, error)
            return rest if hit else []
        except Exception as error:  # noqa: BLE001 - whatever went wrong, nothing may be acknowledged; it is passed on
            # First, because whoever waits for this batch must hear of it whatever becomes of the file.
            self._failed(batch, error)
            await self._reopen()
        else:
            self._stored(batch, outcomes)
        return []

    def _gather(self, first: _Waiting) -> tuple[list[_Waiting], bool]:
        batch, size, count = [first], first.job.size, len(first.job.envelopes)
        while size < COMMIT_BYTES_MAX and count < COMMIT_ENVELOPES_MAX:
            try:
                waiting = self._queue.get_nowait()
            except asyncio.QueueEmpty:
                break
            if waiting is None:
                return batch, True
            batch.append(waiting)
            size += waiting.job.size
            count += len(waiting.job.envelopes)
        return batch, False

    async def _reopen(self) -> None:
        try:
            await self._loop.run_in_executor(self._writer, self._store.reopen)
        except Exception as error:  # noqa: BLE001 - an exception that ended this task would leave uploads waiting for ever
            # The next commit fails too, and says so to whoever uploads; each failure is another try.
            _LOG.error("cannot reopen the database: %s: %s", type(error).__name__, error)

    def _stored(self, batch: list[_Waiting], outcomes: list[tuple[Outcome, ...]]) -> None:
        for waiting, outcome in zip(batch, outcomes, strict=True):
            self._release(waiting)
            if not waiting.answer.done():
                waiting.answer.set_result(outcome)
        grown = {w.job.space for w, outcome in zip(batch, outcomes, strict=True) if any(map(_is_new, outcome))}
        self._on_growth(grown)

    def _failed(self, batch: list[_Waiting], error: Exception) -> None:
        _LOG.error("%d uploads failed, nothing of them is stored: %s", len(batch), error)
        if not isinstance(error, StorageError):
            error = StorageError(f"{type(error).__name__}: {error}")
        for waiting in batch:
            self._release(waiting)
            if not waiting.answer.done():
                waiting.answer.set_exception(error)

    def _release(self, waiting: _Waiting) -> None:
        self._waiting_bytes -= waiting.job.size
        if self._waiting_bytes < WAITING_BYTES_MAX:
            self._room.set()


def _parted(batch: list[_Waiting], space: SpaceId) -> tuple[list[_Waiting], list[_Waiting]]:
    hit = [waiting for waiting in batch if waiting.job.space == space]
    return hit, [waiting for waiting in batch if waiting.job.space != space]


def _is_new(outcome: Outcome) -> bool:
    return isinstance(outcome, Accepted) and outcome.is_new
