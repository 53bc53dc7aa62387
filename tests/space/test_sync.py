"""Devices that sync in the background through a real relay, which is restarted, wiped and lied to."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from driftlog import Phase, Space
from driftlog.errors import DriftlogError, InvalidAddress
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
    for _ in range(2):
        for space in spaces:
            assert synced(space, relay)


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
        settle(a, b, relay=relay)
        assert len(b.query("SELECT * FROM todo")) == n + 1


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


@pytest.mark.parametrize("url", ["", "relay.example", "http://relay.example", "folder:///mnt/usb", "ws://"])
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
