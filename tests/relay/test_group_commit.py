"""The relay acknowledges only what is durable."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from driftlog._core.ids import Position, SpaceId
from driftlog._protocol import relay_session as rs
from driftlog.errors import Corrupt, DiskFull, StorageError
from driftlog.relay.group_commit import COMMIT_ENVELOPES_MAX, GroupCommit
from driftlog.relay.store import DamagedSpace, Job
from tests.protocol.fakes import GENESIS, chain, keys_of


class FakeStore:
    """A store that waits to be let go, and remembers what each transaction held."""

    def __init__(self) -> None:
        self.commits: list[int] = []
        self.gate = threading.Semaphore(0)
        self.is_committing = threading.Event()
        self.failure: Exception | None = None
        self.reopened = 0
        self.failure_to_reopen: Exception | None = None

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
        if self.failure_to_reopen is not None:
            raise self.failure_to_reopen

    def close(self) -> None:
        self.commits.append(0)


class SlowToReopen(FakeStore):
    def __init__(self) -> None:
        super().__init__()
        self.may_reopen = threading.Event()

    def reopen(self) -> None:
        super().reopen()
        self.may_reopen.wait(3 * SECONDS_MAX)


class HalfDamaged(FakeStore):
    """One space of it is damaged."""

    def commit(self, jobs: Sequence[Job]) -> list[tuple[rs.Outcome, ...]]:
        if DAMAGED_JOB in jobs:
            self.gate.acquire()
            raise DamagedSpace("damaged", DAMAGED_JOB.space)
        return super().commit(jobs)


SECONDS_MAX = 5
ONE = chain(keys_of(1), 1)[0]
JOB = Job(GENESIS.space, GENESIS.encode(), (ONE,))
DAMAGED_JOB = Job(SpaceId(b"d" * 32), b"", (ONE,))


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
        assert (store.commits, grown) == ([], [])

        store.gate.release()
        assert await commits.store(JOB) == (rs.Accepted(Position(1)),)
        assert store.reopened == 1
        await commits.stop()

    asyncio.run(main())


def test_uploads_to_a_damaged_space_are_refused_and_those_that_shared_its_transaction_are_stored() -> None:
    async def main() -> None:
        store, grown = HalfDamaged(), list[SpaceId]()
        commits = GroupCommit(store, grown.extend)
        first = asyncio.create_task(commits.store(JOB))
        await asyncio.to_thread(store.is_committing.wait)
        damaged, sound = [[asyncio.create_task(commits.store(job)) for _ in range(2)] for job in (DAMAGED_JOB, JOB)]
        while commits._queue.qsize() < 4:
            await asyncio.sleep(0)
        for _ in range(3):
            store.gate.release()
        async with asyncio.timeout(SECONDS_MAX):
            assert await asyncio.gather(first, *sound) == [(rs.Accepted(Position(1)),)] * 3
            assert all(isinstance(error, Corrupt) for error in await asyncio.gather(*damaged, return_exceptions=True))
            await commits.stop()

        assert store.commits == [1, 2, 0]
        assert set(grown) == {GENESIS.space}
        assert store.reopened == 0

    asyncio.run(main())


def test_a_store_that_blames_a_space_of_no_upload_leaves_nobody_waiting() -> None:
    async def main() -> None:
        store = FakeStore()
        commits = GroupCommit(store, lambda _: None)
        store.failure = DamagedSpace("damaged", DAMAGED_JOB.space)
        store.gate.release()
        async with asyncio.timeout(SECONDS_MAX):
            with pytest.raises(Corrupt):
                await commits.store(JOB)
        store.gate.release()
        await commits.stop()

    asyncio.run(main())


def test_a_failure_to_reopen_of_whatever_kind_leaves_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        store = FakeStore()
        commits = GroupCommit(store, lambda _: None)
        store.failure, store.failure_to_reopen = DiskFull("full"), ValueError("a bug")
        for _ in range(2):
            store.gate.release()
        async with asyncio.timeout(SECONDS_MAX):
            with pytest.raises(StorageError):
                await commits.store(JOB)
            assert await commits.store(JOB) == (rs.Accepted(Position(1)),)
            await commits.stop()

    asyncio.run(main())
    assert "ValueError: a bug" in caplog.text


def test_whoever_waits_for_a_failed_transaction_is_told_before_the_file_is_opened_again() -> None:
    async def main() -> None:
        store = SlowToReopen()
        commits = GroupCommit(store, lambda _: None)
        store.failure = DiskFull("full")
        store.gate.release()
        async with asyncio.timeout(SECONDS_MAX):
            with pytest.raises(DiskFull):
                await commits.store(JOB)
        store.may_reopen.set()
        await commits.stop()

    asyncio.run(main())


def test_a_transaction_takes_no_more_envelopes_than_its_limit() -> None:
    async def main() -> None:
        store = FakeStore()
        commits = GroupCommit(store, lambda _: None)
        first = asyncio.create_task(commits.store(JOB))
        await asyncio.to_thread(store.is_committing.wait)
        half = Job(GENESIS.space, GENESIS.encode(), (ONE,) * (COMMIT_ENVELOPES_MAX // 2))
        rest = [asyncio.create_task(commits.store(half)) for _ in range(5)]
        while commits._queue.qsize() < 5:
            await asyncio.sleep(0)
        for _ in range(4):
            store.gate.release()
        await asyncio.gather(first, *rest)
        await commits.stop()
        assert store.commits == [1, 2, 2, 1, 0]

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
