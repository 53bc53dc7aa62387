"""Devices that sync in the background through a real relay, which is restarted, wiped and lied to."""

import asyncio
import errno
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path

import pytest

from driftlog import Phase, Space
from driftlog._core.ids import Birthday, DeviceKey, Position
from driftlog._core.version_vector import Head
from driftlog._protocol.device_values import SyncState
from driftlog.errors import DriftlogError, InvalidAddress
from driftlog.space.replica import SpaceReplica
from driftlog.space.syncing import Sync
from driftlog.testing import RelayThread
from tests.todo_app import TodoAdded, TodoCompleted, todo_app

APP = todo_app()
SECONDS_MAX = 20
"""For a wait that takes milliseconds unless something is wrong."""


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayThread]:
    running = RelayThread(tmp_path / "relay.db")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def devices(tmp_path: Path) -> Iterator[tuple[Space, Space]]:
    with APP.open(tmp_path / "a.db") as a, APP.join(tmp_path / "b.db", a.invite()) as b:
        yield a, b


def settle(*spaces: Space, relay: RelayThread) -> None:
    """Wait until all hold the same: each has sent everything, then each has read what the others sent."""
    for space in spaces:
        assert synced(space, relay)
    for space in spaces:
        assert becomes_true(space, partial(hold_the_same, *spaces))


def hold_the_same(*spaces: Space) -> bool:
    vectors = [space.version_vector() for space in spaces]
    return vectors == [vectors[0]] * len(vectors)


def becomes_true(space: Space, claim: Callable[[], bool]) -> bool:
    """Wait until a claim holds that may become true with any change of the space."""
    changed = threading.Event()
    remove = space._engine.changed.add(changed.set)
    deadline = time.monotonic() + SECONDS_MAX
    try:
        while not claim():
            if not changed.wait(deadline - time.monotonic()):
                return False
            changed.clear()
    finally:
        remove()
    return True


def holds(space: Space, count: int) -> bool:
    return len(space.query("SELECT * FROM todo")) == count


def synced(space: Space, relay: RelayThread) -> bool:
    [sync] = [sync for sync in space._syncing._syncs if relay.url in sync.urls]
    return sync.wait(SECONDS_MAX)


def test_devices_that_sync_end_with_the_same_tables(relay: RelayThread, devices: tuple[Space, Space]) -> None:
    a, b = devices
    a.append(TodoAdded(id="1", text="milk"))
    b.append(TodoAdded(id="1", text="beer"), TodoCompleted(id="1"))

    for space in devices:
        space.sync(relay.url)
    settle(a, b, relay=relay)

    assert a.digest() == b.digest()
    # What came last is in the tables a moment before the sync says that it has caught up.
    assert synced(a, relay)
    status = a.status()
    assert (status.pending, status.confirmed, status.events) == (0, 1, 3)
    assert [relay_status.state.phase for relay_status in status.relays if relay_status.state] == [Phase.SYNCED]


def test_an_event_reaches_the_other_device_while_both_are_connected(
    relay: RelayThread, devices: tuple[Space, Space]
) -> None:
    a, b = devices
    for space in devices:
        space.sync(relay.url)
    settle(a, b, relay=relay)

    for n in range(5):
        a.append(TodoAdded(id=str(n), text="x"))
        assert becomes_true(b, partial(holds, b, n + 1))


def test_a_relay_that_was_wiped_is_full_again_and_nobody_resets_anything(
    relay: RelayThread, devices: tuple[Space, Space], tmp_path: Path
) -> None:
    a, b = devices
    for space in devices:
        space.append(TodoAdded(id=space.device.hex(), text="x"))
        space.sync(relay.url)
    settle(a, b, relay=relay)
    a.close()

    relay.wipe()
    b.append(TodoAdded(id="2", text="bread"))
    settle(b, relay=relay)

    # a is gone: what it wrote is there again by way of b.
    with APP.join(tmp_path / "c.db", b.invite()) as c:
        assert c.sync(relay.url).wait(SECONDS_MAX)
        assert c.digest() == b.digest()
        assert len(c.query("SELECT * FROM todo")) == 3
    assert b.status().pending == 0


def test_a_relay_that_is_away_is_waited_for(relay: RelayThread, devices: tuple[Space, Space]) -> None:
    a, _ = devices
    relay.stop()
    sync = a.sync(relay.url)
    a.append(TodoAdded(id="1", text="milk"))

    assert sync.wait(0.2) is False
    assert sync.states()[relay.url].phase in (Phase.OFFLINE, Phase.CONNECTING)
    relay.start()
    assert sync.wait(SECONDS_MAX)


def test_closing_a_space_ends_its_sync_and_it_goes_on_where_it_was(relay: RelayThread, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with APP.open(path) as space:
        space.append(TodoAdded(id="1", text="milk"))
        assert space.sync(relay.url).wait(SECONDS_MAX)
        received = space.status().relays[0].cursor
    with APP.open(path) as space:
        assert space.status().relays[0].cursor <= received
        sync = space.sync(relay.url)
        assert sync.wait(SECONDS_MAX)
        assert sync.states()[relay.url].envelopes_received == 0
        assert sync.states()[relay.url].envelopes_sent == 0
    assert not sync.is_running


def test_two_relays_at_once_both_get_everything(relay: RelayThread, tmp_path: Path) -> None:
    other = RelayThread(tmp_path / "other.db")
    other.start()
    try:
        with APP.open(tmp_path / "a.db") as a, APP.join(tmp_path / "b.db", a.invite()) as b:
            a.append(TodoAdded(id="1", text="milk"))
            assert a.sync(relay.url, other.url).wait(SECONDS_MAX)
            assert b.sync(other.url).wait(SECONDS_MAX)
            assert b.digest() == a.digest()
    finally:
        other.stop()


def test_the_same_driver_runs_as_a_coroutine(relay: RelayThread, devices: tuple[Space, Space]) -> None:
    a, b = devices
    a.append(TodoAdded(id="1", text="milk"))

    async def main() -> None:
        tasks = [asyncio.create_task(space.sync_forever(relay.url)) for space in devices]
        async with asyncio.timeout(SECONDS_MAX):
            while not b.query("SELECT 1 FROM todo"):
                await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())
    assert a.digest() == b.digest()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "relay.example",
        "http://relay.example",
        "folder:///mnt/usb",
        "ws://",
        "ws://[::1",
        "ws://relay.example:x",
        "ws://relay.example:99999",
    ],
)
def test_what_is_no_relays_address_is_refused_at_once(url: str) -> None:
    with APP.open(":memory:") as space, pytest.raises(InvalidAddress, match=r"wss://relay\.example"):
        space.sync(url)


def test_the_same_relay_is_synced_with_once(relay: RelayThread) -> None:
    with APP.open(":memory:") as space:
        space.sync(relay.url)
        with pytest.raises(DriftlogError, match="already"):
            space.sync(relay.url)
        with pytest.raises(InvalidAddress, match="twice"):
            space.sync("ws://a.example", "ws://a.example")


def until(sync: Sync, claim: Callable[[dict[str, SyncState]], bool]) -> None:
    """Wait until a sync's states fulfil a claim."""
    while True:
        changes, _ = sync._board.read()
        if claim(sync.states()):
            return
        assert sync._board.wait_past(changes, SECONDS_MAX)


def test_waiting_includes_what_came_from_another_device_by_hand(
    relay: RelayThread, devices: tuple[Space, Space]
) -> None:
    a, b = devices
    sync = a.sync(relay.url)
    assert sync.wait(SECONDS_MAX)
    for number in range(1, 6):
        b.append(TodoAdded(id=str(number), text="x"))
        b.seal()

        a.receive(b.envelopes_for(a.version_vector()))

        assert sync.wait(SECONDS_MAX)
        assert sync.states()[relay.url].envelopes_sent == number


def test_waiting_includes_what_another_connection_appended_to_the_same_file(relay: RelayThread, tmp_path: Path) -> None:
    with APP.open(tmp_path / "a.db") as a, APP.open(tmp_path / "a.db") as again:
        sync = a.sync(relay.url)
        assert sync.wait(SECONDS_MAX)

        again.append(TodoAdded(id="1", text="milk"))

        assert sync.wait(SECONDS_MAX)
        assert a.status().pending == 0


def test_only_what_others_wrote_to_the_file_is_found_by_looking_around(tmp_path: Path) -> None:
    with APP.open(tmp_path / "a.db") as a, APP.open(tmp_path / "a.db") as again:
        replica = SpaceReplica(a._engine, lambda _, __: None)
        a.append(TodoAdded(id="1", text="milk"))
        own = replica.change_count()
        replica.look_around()
        assert replica.change_count() == own

        again.append(TodoAdded(id="2", text="bread"))
        replica.look_around()
        replica.look_around()
        assert replica.change_count() == own + 1


def test_what_a_relay_says_when_it_lets_a_device_in_can_lower_what_it_confirmed() -> None:
    url, life, next_life = "ws://relay.example", Birthday(b"1" * 16), Birthday(b"2" * 16)
    with APP.open(":memory:") as space:
        replica = SpaceReplica(space._engine, lambda _, __: None)
        heads: list[Head] = []
        for number in range(3):
            space.append(TodoAdded(id=str(number), text="x"))
            space.seal()
            heads += space.version_vector()[DeviceKey(space.device)]

        def confirmed(birthday: Birthday, head: Head | None, *, is_all: bool) -> int:
            replica.confirm(url, birthday, head, is_all=is_all)
            return space.status().relays[0].confirmed_envelopes

        assert confirmed(life, heads[2], is_all=False) == 3
        assert confirmed(life, heads[1], is_all=False) == 3
        assert confirmed(life, heads[1], is_all=True) == 2
        assert confirmed(next_life, None, is_all=True) == 0
        assert space.status().pending == 3
        # A relay of which nothing was read is greeted like a new one, so that it asks what is held here.
        assert replica.greeting(url).birthday is None
        replica.apply(url, next_life, [], Position(1))
        assert replica.greeting(url).birthday == next_life


def test_a_sync_that_cannot_start_says_so_and_can_be_tried_again(
    relay: RelayThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(main: Coroutine[None, None, None]) -> None:
        main.close()
        raise OSError(errno.EMFILE, "Too many open files")

    with APP.open(":memory:") as space:
        with monkeypatch.context() as patch:
            patch.setattr("driftlog.space.syncing.asyncio.run", run)
            with pytest.raises(DriftlogError, match="Too many open files"):
                space.sync(relay.url)

        assert space.sync(relay.url).wait(SECONDS_MAX)


def test_an_error_in_one_relays_sync_is_shown_and_leaves_the_other_running(
    relay: RelayThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    greeting = SpaceReplica.greeting
    broken = "ws://broken.example"

    def fail(self: SpaceReplica, url: str) -> object:
        if url == second.url:
            raise ZeroDivisionError(broken)
        return greeting(self, url)

    monkeypatch.setattr(SpaceReplica, "greeting", fail)
    second = RelayThread(tmp_path / "second.db")
    second.start()
    try:
        with APP.open(":memory:") as space:
            sync = space.sync(relay.url, second.url)
            until(sync, lambda states: second.url in states and states[second.url].phase is Phase.STOPPED)
            assert sync.states()[second.url].detail == f"the sync has ended: ZeroDivisionError: {broken}"
            assert sync.wait(SECONDS_MAX) is False

            space.append(TodoAdded(id="1", text="milk"))
            until(sync, lambda states: states[relay.url].envelopes_sent == 1)
            assert sync.is_running
    finally:
        second.stop()


def test_a_coroutine_is_refused_a_relay_that_is_in_use_and_ends_only_its_own(relay: RelayThread) -> None:
    with APP.open(":memory:") as space:
        sync = space.sync(relay.url)
        assert sync.wait(SECONDS_MAX)
        with pytest.raises(DriftlogError, match="already"):
            asyncio.run(space.sync_forever(relay.url))
        assert sync.states()[relay.url].phase is Phase.SYNCED

        async def cancel_another() -> None:
            task = asyncio.create_task(space.sync_forever("ws://127.0.0.1:9"))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(cancel_another())
        assert sync.states()[relay.url].phase is Phase.SYNCED
        sync.stop()

        async def take_over() -> None:
            task = asyncio.create_task(space.sync_forever(relay.url))
            await asyncio.sleep(0)
            with pytest.raises(DriftlogError, match="already"):
                space.sync(relay.url)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(take_over())
        assert space._syncing.states()[relay.url].phase is Phase.STOPPED
        assert space.sync(relay.url).wait(SECONDS_MAX)
