"""The relay acknowledges only what is durable."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from driftlog._core.ids import Position, SpaceId
from driftlog._protocol import relay_session as rs
from driftlog.errors import DiskFull, StorageError
from driftlog.relay.group_commit import GroupCommit
from driftlog.relay.writing import Job
from tests.protocol.fakes import GENESIS


class FakeStore:
    """A store that waits to be let go, and remembers what each transaction held."""

    def __init__(self) -> None:
        self.commits: list[int] = []
        self.gate = threading.Semaphore(0)
        self.is_committing = threading.Event()
        self.failure: Exception | None = None
        self.reopened = 0

    def commit(self, jobs: Sequence[Job]) -> list[tuple[rs.Outcome, ...]]:
        self.is_committing.set()
        self.gate.acquire()
        if self.failure is not None:
            raise self.failure
        self.commits.append(len(jobs))
        return [(rs.Accepted(Position(1)),) for _ in jobs]

    def reopen(self) -> None:
        self.reopened += 1
        self.failure = None

    def close(self) -> None:
        self.commits.append(0)


JOB = Job(GENESIS.space, GENESIS.encode(), (b"envelope",))


def test_nothing_is_acknowledged_before_its_transaction_returns_and_what_waits_shares_the_next() -> None:
    async def main() -> None:
        store, grown = FakeStore(), list[SpaceId]()
        commits = GroupCommit(store, grown.extend)
        first = asyncio.create_task(commits.store(JOB))
        await asyncio.to_thread(store.is_committing.wait)
        rest = [asyncio.create_task(commits.store(JOB)) for _ in range(5)]
        while commits._queue.qsize() < 5:
            await asyncio.sleep(0)
        assert not first.done()
        assert grown == []

        store.gate.release()
        await first
        assert not any(task.done() for task in rest)
        store.gate.release()
        await asyncio.gather(*rest)

        assert store.commits == [1, 5]
        assert grown == [GENESIS.space] * 2
        await commits.stop()

    asyncio.run(main())


@pytest.mark.parametrize("failure", [DiskFull("full"), ValueError("a bug")])
def test_when_a_transaction_fails_nobody_in_it_is_acknowledged_and_the_next_may_succeed(failure: Exception) -> None:
    async def main() -> None:
        store, grown = FakeStore(), list[SpaceId]()
        commits = GroupCommit(store, grown.extend)
        store.failure = failure
        store.gate.release()
        with pytest.raises(StorageError):
            await commits.store(JOB)
        assert (store.commits, grown, store.reopened) == ([], [], 1)

        store.gate.release()
        assert await commits.store(JOB) == (rs.Accepted(Position(1)),)
        await commits.stop()

    asyncio.run(main())


def test_stopping_commits_what_is_waiting() -> None:
    async def main() -> None:
        store = FakeStore()
        commits = GroupCommit(store, lambda _: None)
        waiting = asyncio.create_task(commits.store(JOB))
        await asyncio.to_thread(store.is_committing.wait)
        store.gate.release()
        await commits.stop()
        assert await waiting == (rs.Accepted(Position(1)),)
        assert store.commits == [1, 0]

    asyncio.run(main())
