"""A relay that fails, has no room or gets nowhere is asked more and more rarely, and is sent little each time."""

import pytest
from msgspec.structs import replace

from driftlog._core.ids import Position
from driftlog._protocol import device_values as dv
from driftlog._protocol.device import Waiting
from driftlog._protocol.device_values import Phase
from driftlog._protocol.limits import (
    HELD_TICKS,
    QUOTA_TICKS,
    RETRY_ATTEMPT_MAX,
    SILENT_TICKS_BEFORE_PING,
    TICK_MS,
    UPLOAD_BYTES_GOAL,
)
from driftlog._protocol.live import Check, Live, Page, answered
from driftlog._protocol.messages import Refusal, Upload, decode_from_device
from tests.protocol.world import Device, World


def uploads(device: Device) -> list[Upload]:
    """Give the UPLOADs sent since the last time, and forget them."""
    sent = [frame for frame in map(decode_from_device, device.sent) if isinstance(frame, Upload)]
    device.sent.clear()
    return sent


def world_with_backlog(count: int, *, size: int = 0) -> tuple[World, Device]:
    world = World(1)
    world.load_bytes_max = 1 << 20
    for _ in range(count):
        world.devices[0].replica.append(size=size)
    return world, world.devices[0]


def attempt_after_cut(world: World, device: Device) -> int:
    world.cut(device)
    world.run()
    assert isinstance(device.session.state, Waiting)
    return device.session.state.attempt


def test_a_backlog_goes_up_in_frames_that_a_slow_line_carries_before_the_device_grows_uneasy() -> None:
    world, device = world_with_backlog(40, size=10_000)

    world.settle()

    sizes = [len(upload.encode()) for upload in uploads(device)]
    assert max(sizes) <= UPLOAD_BYTES_GOAL + 100
    assert UPLOAD_BYTES_GOAL / 22_000 < SILENT_TICKS_BEFORE_PING * TICK_MS / 1_000 / 2


def test_a_relay_whose_disk_fails_is_asked_ever_more_rarely_and_shown_one_envelope() -> None:
    world, device = world_with_backlog(50)
    world.store.is_failing = True
    world.run()
    uploads(device)

    attempts = []
    for _ in range(6):
        world.fire_timer(device)
        world.run()
        assert isinstance(device.session.state, Waiting)
        attempts.append(device.session.state.attempt)

    assert attempts == sorted(attempts)
    assert attempts[-1] == RETRY_ATTEMPT_MAX
    assert [len(upload.envelopes) for upload in uploads(device)] == [1] * 6
    world.store.is_failing = False
    world.settle()
    assert attempt_after_cut(world, device) == 0


def test_a_relay_that_lets_a_device_in_and_drops_it_is_asked_ever_more_rarely() -> None:
    world, device = world_with_backlog(0)

    attempts = []
    for _ in range(RETRY_ATTEMPT_MAX + 2):
        world.run()
        assert isinstance(device.session.state, Live)
        attempts.append(attempt_after_cut(world, device))
        world.fire_timer(device)

    assert attempts == [*range(RETRY_ATTEMPT_MAX + 1), RETRY_ATTEMPT_MAX]


@pytest.mark.parametrize(("new_count", "attempt"), [(0, 1), (1, 0)])
def test_what_comes_down_counts_as_progress_only_if_it_was_new(new_count: int, attempt: int) -> None:
    world, device = world_with_backlog(0)
    world.run()
    attempt_after_cut(world, device)
    world.fire_timer(device)
    world.run()
    state = device.session.state
    assert isinstance(state, Live)

    waiting = replace(state, unapplied=(Page(Position(1), is_caught_up=True, count=1, size=500),))
    moved = answered(waiting, 1, dv.Applied(1, new_count))

    assert isinstance(moved, tuple)
    assert moved[0].attempt == attempt


def test_when_all_is_read_for_the_first_time_the_replica_is_asked_once_more_what_the_relay_lacks() -> None:
    world, device = world_with_backlog(0)
    world.settle()
    state = device.session.state
    assert isinstance(state, Live)
    assert state.outbox.is_idle

    page = Page(Position(1), is_caught_up=True, count=1, size=500)
    reading = replace(state, unapplied=(page,), check=Check.DONE, is_caught_up=True)
    moved = answered(reading, 1, dv.Applied(1, 1))

    assert isinstance(moved, tuple)
    assert any(isinstance(effect, dv.LoadOutgoing) for effect in moved[1])


def test_a_connection_that_held_for_a_minute_ends_the_back_off() -> None:
    world, device = world_with_backlog(0)
    world.run()
    for _ in range(3):
        attempt_after_cut(world, device)
        world.fire_timer(device)
        world.run()

    for _ in range(HELD_TICKS):
        world.fire_timer(device)
        world.run()

    assert attempt_after_cut(world, device) == 0


@pytest.mark.parametrize("code", [Refusal.QUOTA, Refusal.UNAVAILABLE])
def test_a_relay_without_room_is_shown_one_envelope_a_minute_until_it_takes_one(code: Refusal) -> None:
    world, device = world_with_backlog(50)
    world.store.full_code = code
    world.store.bytes_max = 0
    world.run()
    refused_phase = device.phase
    uploads(device)

    for _ in range(QUOTA_TICKS + 1):
        world.fire_timer(device)
        world.run()
    probed = uploads(device)
    world.store.bytes_max = 1 << 20
    for _ in range(QUOTA_TICKS + 1):
        world.fire_timer(device)
        world.run()

    assert refused_phase is Phase.REFUSED
    assert [len(upload.envelopes) for upload in probed] == [1]
    assert [len(upload.envelopes) for upload in uploads(device)] == [1, 49]
    assert device.phase is Phase.SYNCED


def test_a_wiped_relay_that_takes_nothing_is_known_to_hold_nothing() -> None:
    world, device = world_with_backlog(4)
    world.settle()
    assert device.replica.confirmed == 4
    world.cut(device)
    world.store.wipe()
    world.store.bytes_max = 0
    world.run()

    world.fire_timer(device)
    world.run()

    assert device.replica.confirmed == 0


def test_while_connected_the_replica_looks_for_what_others_wrote_to_its_file() -> None:
    world, device = world_with_backlog(0)
    world.settle()

    world.fire_timer(device)
    world.run()

    assert device.replica.looks == 1


def test_a_state_says_how_many_local_changes_it_was_made_after() -> None:
    world, device = world_with_backlog(0)
    world.settle()
    before = device.session.shown.local_changes

    world.append(device)
    world.take_input(device)
    busy = device.session.shown
    world.settle()

    assert before == 0
    assert (busy.phase, busy.local_changes) == (Phase.CATCHING_UP, 1)
    assert device.session.shown.local_changes == 1
    # A change while there is no connection is in what is said over the next.
    world.cut(device)
    device.replica.append()
    device.inputs.append(dv.LocalChange(device.replica.change_count()))
    world.settle()
    assert device.session.shown.local_changes == 2
