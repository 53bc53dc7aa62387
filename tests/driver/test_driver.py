"""The driver performs a session's effects against a relay over real sockets, and against connections that fail."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import zip_longest
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog._driver.driver import _Driver, run, take_together
from driftlog._protocol import device_values as dv
from driftlog._protocol.device_values import Phase, SyncState
from driftlog._transport.base import Connection, ConnectionLost
from driftlog._transport.websocket import connect
from driftlog.errors import DiskFull, MissingDeviceKey
from driftlog.relay.server import running_relay
from tests.protocol.fakes import FakeReplica

SECONDS_MAX = 20
"""Long past what any of these takes: a test that hangs fails instead."""


class Device:
    """A replica, driven; what it reports can be awaited."""

    def __init__(self, number: int) -> None:
        self.replica = FakeReplica(number)
        self.stop = asyncio.Event()
        self._reported = asyncio.Condition()
        loop = asyncio.get_running_loop()

        def report(url: str, state: SyncState) -> None:
            self.replica.states.append(state)
            loop.call_soon_threadsafe(lambda: asyncio.ensure_future(self._notify()))

        self.replica.report = report  # type: ignore[method-assign]

    async def _notify(self) -> None:
        async with self._reported:
            self._reported.notify_all()

    async def until(self, claim: Callable[[SyncState], bool]) -> SyncState:
        """Wait until the last report fulfils a claim."""
        async with asyncio.timeout(SECONDS_MAX), self._reported:
            while not self.replica.states or not claim(self.replica.states[-1]):
                await self._reported.wait()
            return self.replica.states[-1]

    async def synced(self, *, count: int) -> None:
        await self.until(lambda state: state.phase is Phase.SYNCED and len(self.replica.hashes()) == count)


@asynccontextmanager
async def driven(device: Device, url: str) -> AsyncIterator[None]:
    device.stop = asyncio.Event()
    task = asyncio.create_task(run(device.replica, url, connect, stop=device.stop, seed=1))
    try:
        yield
    finally:
        device.stop.set()
        async with asyncio.timeout(SECONDS_MAX):
            await task
    assert device.replica.states[-1].phase is Phase.STOPPED


def test_devices_converge_through_a_relay_and_see_each_others_changes(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay:
            one, two = Device(1), Device(2)
            for _ in range(5):
                one.replica.append()
            async with driven(one, relay.url), driven(two, relay.url):
                await two.synced(count=5)
                two.replica.append()
                await one.synced(count=6)
                await two.synced(count=6)
            assert one.replica.hashes() == two.replica.hashes()
            assert (one.replica.confirmed, two.replica.confirmed) == (5, 1)
            # The relay left out what came up on the same connection.
            assert (one.replica.applied_count, two.replica.applied_count) == (1, 5)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_a_relay_that_is_wiped_is_filled_again_and_one_that_restarts_is_found_again(tmp_path: Path) -> None:
    async def main() -> None:
        one, two = Device(1), Device(2)
        async with running_relay(tmp_path / "relay.db") as relay:
            url, port = relay.url, relay.port
            first_birthday = relay.birthday
            for device in (one, two):
                device.replica.append()
            async with driven(one, url), driven(two, url):
                await one.synced(count=2)
                await two.synced(count=2)
        async with driven(one, url):
            await one.until(lambda state: state.phase is Phase.OFFLINE)
            async with running_relay(tmp_path / "another.db", port=port) as relay:
                assert relay.birthday != first_birthday
                await one.synced(count=2)
                three = Device(3)
                async with driven(three, url):
                    await three.synced(count=2)
                assert three.replica.hashes() == two.replica.hashes()

    asyncio.run(main())


def test_a_device_that_cannot_connect_says_why_and_stops_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay:
            url = relay.url
        device = Device(1)
        async with driven(device, url):
            state = await device.until(lambda state: state.phase is Phase.OFFLINE)
            assert "is the relay running?" in state.detail

    asyncio.run(main())


def test_a_full_disk_is_waited_out_and_anything_else_ends_the_session(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay:
            device = Device(1)
            device.replica.failures = [DiskFull("the disk is full")]
            device.replica.append()
            task = asyncio.create_task(run(device.replica, relay.url, connect, stop=device.stop, seed=1))
            state = await device.until(lambda state: state.phase is Phase.OFFLINE)
            assert state.detail == "the disk is full"
            device.stop.set()
            await task

            other = Device(2)
            other.replica.failures = [MissingDeviceKey("no key")]
            await run(other.replica, relay.url, connect, stop=other.stop, seed=1)
            assert (other.replica.states[-1].phase, other.replica.states[-1].detail) == (Phase.STOPPED, "no key")

    asyncio.run(main())


def test_an_error_that_is_not_driftlogs_is_raised_and_leaves_no_task(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay:
            device = Device(1)
            device.replica.failures = [ZeroDivisionError("a bug")]
            with pytest.raises(ExceptionGroup, match="unhandled errors"):
                await run(device.replica, relay.url, connect, stop=device.stop, seed=1)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_cancelling_leaves_no_task_and_no_subscription(tmp_path: Path) -> None:
    async def main() -> None:
        async with running_relay(tmp_path / "relay.db") as relay:
            device = Device(1)
            device.replica.append()
            task = asyncio.create_task(run(device.replica, relay.url, connect, stop=device.stop, seed=1))
            await device.synced(count=1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert device.replica._callbacks == []
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


class DeafConnection:
    """A connection on which nothing ever arrives."""

    def __init__(self) -> None:
        self.is_closed = asyncio.Event()

    async def send(self, data: bytes) -> None:  # noqa: ARG002 - the interface names it
        raise AssertionError("there is nothing to say before the relay has spoken")

    async def receive(self) -> bytes:
        await self.is_closed.wait()
        raise ConnectionLost("closed here")

    async def close(self, reason: str) -> None:  # noqa: ARG002 - the interface names it
        self.is_closed.set()


def test_stopping_ends_a_connection_on_which_nothing_happens() -> None:
    async def main() -> None:
        device = Device(1)
        connections: list[DeafConnection] = []
        opened = asyncio.Event()

        @asynccontextmanager
        async def connect_deaf(url: str) -> AsyncIterator[Connection]:
            connections.append(DeafConnection())
            opened.set()
            yield connections[-1]

        task = asyncio.create_task(run(device.replica, "x://", connect_deaf, stop=device.stop, seed=1))
        await opened.wait()
        device.stop.set()
        async with asyncio.timeout(SECONDS_MAX):
            await task
        assert connections[0].is_closed.is_set()
        assert len(connections) == 1

    asyncio.run(main())


def test_a_line_that_is_given_up_before_it_began_to_open_ends_all_the_same() -> None:
    async def main() -> None:
        device = Device(1)

        @asynccontextmanager
        async def connect_never(url: str) -> AsyncIterator[Connection]:
            raise AssertionError("it was given up before")
            yield

        driver = _Driver(device.replica, "x://", connect_never)
        # Both wait in the inbox: the second is taken before the line's task has had a turn.
        driver._inbox.put_nowait(dv.Start())
        driver._inbox.put_nowait(dv.Shutdown())

        async with asyncio.timeout(SECONDS_MAX):
            await driver.run(device.stop, seed=1)

        assert device.replica.states[-1].phase is Phase.STOPPED

    asyncio.run(main())


def test_what_changed_before_anybody_listened_is_counted() -> None:
    async def main() -> None:
        device = Device(1)
        device.replica.append()
        device.replica.append()

        @asynccontextmanager
        async def connect_nowhere(url: str) -> AsyncIterator[Connection]:
            raise ConnectionLost("nothing there")
            yield

        task = asyncio.create_task(run(device.replica, "x://", connect_nowhere, stop=device.stop, seed=1))
        await device.until(lambda state: state.phase is Phase.OFFLINE and state.local_changes == 2)
        device.stop.set()
        await task

    asyncio.run(main())


JOBS: tuple[dv.Job, ...] = (
    dv.Report(SyncState(Phase.CONNECTING)),
    dv.Report(SyncState(Phase.SYNCED)),
    dv.LoadGreeting(1),
    dv.LookAround(1),
)


@given(st.lists(st.sampled_from(JOBS), max_size=8))
def test_reports_go_along_with_a_call_and_nothing_else_is_put_together_left_out_or_moved(jobs: list[dv.Job]) -> None:
    waiting = deque(jobs)
    turns: list[list[dv.Job]] = []
    while waiting:
        turns.append(take_together(waiting))

    assert all(sum(not isinstance(job, dv.Report) for job in turn) <= 1 for turn in turns)
    reports = [isinstance(job, dv.Report) for job in jobs]
    is_overtaken = [one and next_ for one, next_ in zip_longest(reports, reports[1:], fillvalue=False)]
    asked = [job for job, is_left_out in zip(jobs, is_overtaken, strict=True) if not is_left_out]
    assert [job for turn in turns for job in turn] == asked
    assert len(turns) == max(reports.count(False), min(len(jobs), 1))
