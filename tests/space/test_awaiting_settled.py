"""Who waits until an event is settled is told once, and not left waiting."""

import asyncio

import pytest

from driftlog import Timestamp
from driftlog._core.ids import DeviceKey
from driftlog.errors import Closed, DriftlogError
from tests.space.settling import later, met, milk
from tests.space.test_rejected import APP
from tests.space.test_verdicts import take
from tests.todo_app import TodoAdded


def test_who_waits_is_called_once_as_soon_as_the_event_is_settled() -> None:
    spaces = met(2)
    ann, bob = spaces
    told: list[Timestamp] = []
    first, second = spaces.says(0, TodoAdded("1", "milk")), spaces.says(0, TodoAdded("2", "bread"))
    ann.on_settled(second, told.append)
    ann.on_settled(first, told.append)
    ann.on_settled(first, lambda _: told.append(first))()
    assert told == []

    take(bob, ann)
    milk(bob)
    take(ann, bob)
    settled = ann.settled
    assert settled is not None
    assert told == [settled, settled]
    milk(bob)
    take(ann, bob)
    assert len(told) == 2

    ann.on_settled(first, told.append)
    assert len(told) == 3, "settled already"


def test_what_a_waiting_callback_raises_is_logged_and_the_write_stands(caplog: pytest.LogCaptureFixture) -> None:
    with APP.open(":memory:") as space:
        told: list[Timestamp] = []
        wanted = milk(space)._replace(device=DeviceKey(b"\xff" * 32))

        def broken(_: Timestamp) -> None:
            raise LookupError

        space.on_settled(wanted, broken)
        space.on_settled(wanted, told.append)
        milk(space)
        milk(space)

        assert len(told) == 1
        assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_what_cannot_be_a_timestamp_is_refused() -> None:
    with APP.open(":memory:") as space, pytest.raises(DriftlogError, match="no timestamp"):
        space.on_settled(5, print)  # type: ignore[arg-type]


def test_waiting_in_an_event_loop_ends_with_what_is_settled_or_with_the_space() -> None:
    async def main() -> None:
        spaces = met(2)
        ann, bob = spaces
        added = spaces.says(0, TodoAdded("1", "milk"))
        waiting = asyncio.create_task(ann.asettle(added))
        in_vain = asyncio.create_task(bob.asettle(added))
        given_up = asyncio.create_task(ann.asettle(added))
        while not (ann._engine.telling.settling._wait_by_key and bob._engine.telling.settling._wait_by_key):
            await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        take(bob, ann)
        milk(bob)
        take(ann, bob)

        assert await waiting == ann.settled
        assert ann._engine.telling.settling._wait_by_key == {}
        assert await in_vain >= added
        late = asyncio.create_task(bob.asettle(later(added)))
        while not bob._engine.telling.settling._wait_by_key:
            await asyncio.sleep(0)
        bob.close()
        with pytest.raises(Closed, match="before"):
            await late

    asyncio.run(main())
