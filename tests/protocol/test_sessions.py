"""A device's and a relay's session, back to back: whatever is cut, lost or set back, both end with everything."""

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from driftlog._core.ids import Position
from driftlog._crypto.keys import access_key, found_space
from driftlog._protocol import device_values as dv
from driftlog._protocol import live
from driftlog._protocol.device_values import Phase
from driftlog._protocol.limits import (
    QUOTA_TICKS,
    SILENT_TICKS_BEFORE_PING,
    SILENT_TICKS_MAX,
    UNANSWERED_TICKS_MAX,
    WINDOW_FRAMES,
)
from driftlog._protocol.messages import Envelopes, Ping, Upload, Want, decode_from_device
from tests.protocol.fakes import FakeReplica, envelope
from tests.protocol.world import Device, World

DEVICES = 3


def world_with(*counts: int) -> World:
    """Give devices that have appended so many events each, offline."""
    world = World(len(counts))
    for device, count in zip(world.devices, counts, strict=True):
        for _ in range(count):
            device.replica.append()
    return world


def assert_everybody_holds_everything(world: World) -> None:
    own = {s.hash for d in world.devices for s in d.replica.chains.get(d.replica.keys.device_key, ())}
    for device in world.devices:
        assert device.replica.hashes() == own
        assert device.replica.confirmed == len(device.replica.chains.get(device.replica.keys.device_key, ()))
    assert world.store.hashes() == own


def actions_of(world: World) -> list[Callable[[Device], bool]]:
    def wipe(_: Device) -> bool:
        world.restart_relay()
        world.store.wipe()
        return True

    def rollback(_: Device) -> bool:
        world.restart_relay()
        world.store.rollback(2)
        return True

    ordinary = [world.take_input, world.do_job, world.deliver_to_relay, world.deliver_to_device]
    return [*ordinary, *ordinary, *ordinary, world.append, world.fire_timer, world.cut, wipe, rollback]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 16), st.integers(0, DEVICES - 1), st.integers(1, 12)), max_size=120))
def test_after_any_cut_wipe_and_rollback_everybody_ends_with_everything(choices: list[tuple[int, int, int]]) -> None:
    world = World(DEVICES)
    actions = actions_of(world)

    for action, number, times in choices:
        for _ in range(times if action < 12 else 1):
            actions[action](world.devices[number])

    world.settle()
    # Whoever was away when the relay lost something brings it back when it connects once more.
    world.restart_relay()
    world.settle()
    assert_everybody_holds_everything(world)


def test_a_new_device_is_sent_what_it_lacks_and_nothing_else() -> None:
    world = world_with(20, 0)
    world.settle()
    first, second = world.devices

    world.restart_relay()
    first_had, second_had = first.replica.applied_count, second.replica.applied_count
    world.settle()

    assert second_had == 20
    assert first_had == 0
    assert first.replica.applied_count == 0
    assert second.replica.applied_count == 20


def test_a_wiped_relay_is_filled_by_one_device_with_everybodys_envelopes() -> None:
    world = world_with(5, 5)
    world.settle()
    first, second = world.devices
    world.restart_relay()
    world.store.wipe()
    second.inputs.append(dv.Shutdown())

    world.run()
    world.fire_timer(first)
    world.run()

    assert world.store.hashes() == first.replica.hashes()
    assert len(world.store.entries) == 10


def test_a_relay_that_was_set_back_and_grew_again_hides_nothing_behind_the_cursor() -> None:
    # Given a device that has read four of another's envelopes,
    world = world_with(4, 0)
    world.settle()
    first, second = world.devices
    # when the relay loses two of them, and other envelopes take their positions while the device is away,
    world.is_relay_up = False
    world.restart_relay()
    world.store.rollback(2)
    stranger = FakeReplica(99)
    for _ in range(5):
        world.store.store(stranger.append().raw)
    world.is_relay_up = True
    world.settle()
    # then it holds those too, and the relay has the two again.
    assert stranger.hashes() <= second.replica.hashes()
    assert first.replica.hashes() == second.replica.hashes() == world.store.hashes()


def test_a_device_whose_heads_equal_a_new_relays_is_sent_nothing() -> None:
    world = world_with(6)
    world.settle()
    (device,) = world.devices
    entries = list(world.store.entries)
    world.restart_relay()
    world.store.wipe()
    world.store.entries = entries

    world.settle()

    assert device.replica.applied_count == 0
    assert any(isinstance(decode_from_device(frame), Want) for frame in device.sent)


def test_a_fork_is_shown_and_does_not_stop_the_other_devices_envelopes() -> None:
    # Given a relay that holds another second envelope of device 0 than device 0 itself,
    world = world_with(3, 2)
    first, second = world.devices
    own = first.replica.chains[first.replica.keys.device_key]
    other = envelope(first.replica.keys, 2, own[0].hash, salt=7)
    for sealed in (own[0], other):
        world.store.store(sealed.raw)
    # when both connect,
    world.run()
    # then it is refused, says so, and has all the same what the other device wrote.
    assert first.phase is Phase.REFUSED
    assert "another history" in first.session.shown.detail
    second_own = second.replica.chains[second.replica.keys.device_key]
    assert {sealed.hash for sealed in second_own} <= first.replica.hashes() & world.store.hashes()


def test_what_found_no_room_is_sent_again_by_itself_when_there_is() -> None:
    world = world_with(4)
    (device,) = world.devices
    world.store.bytes_max = 1_000
    world.run()
    assert (device.phase, device.session.shown.detail) == (Phase.REFUSED, "no room")

    world.store.bytes_max = 1 << 20
    for _ in range(QUOTA_TICKS):
        world.fire_timer(device)
        world.run()

    assert device.phase is Phase.SYNCED
    assert_everybody_holds_everything(world)


def test_a_relay_that_falls_silent_is_asked_and_then_left() -> None:
    world = world_with(1)
    world.settle()
    (device,) = world.devices
    device.sent.clear()

    for _ in range(SILENT_TICKS_BEFORE_PING):
        world.fire_timer(device)
        world.take_input(device)
    asked = list(device.sent)
    for _ in range(SILENT_TICKS_MAX - SILENT_TICKS_BEFORE_PING):
        world.fire_timer(device)
        world.take_input(device)

    assert asked == [Ping().encode()]
    world.take_input(device)
    assert device.phase is Phase.OFFLINE
    assert "silent" in device.session.shown.detail


def test_an_upload_that_is_never_answered_is_sent_again_over_another_connection() -> None:
    world = world_with(0)
    world.settle()
    (device,) = world.devices
    world.append(device)
    while not any(isinstance(decode_from_device(data), Upload) for data in device.sent):
        assert any(action(device) for action in (world.take_input, world.do_job))

    # The upload is lost on the way, and everything else arrives: pings are answered, so the relay is not silent.
    assert device.link is not None
    device.link.to_relay.clear()
    connection = device.session.connection
    for _ in range(UNANSWERED_TICKS_MAX - 1):
        world.run()
        world.fire_timer(device)
    world.run()
    assert device.session.connection == connection
    world.fire_timer(device)
    while device.phase is not Phase.OFFLINE:
        assert world.take_input(device)
    detail = device.session.shown.detail
    world.settle()

    assert device.session.connection > connection
    assert "no upload" in detail
    assert_everybody_holds_everything(world)


def test_a_relay_sends_no_more_than_the_window_to_a_device_that_does_not_read() -> None:
    world = world_with(60, 0)
    first, second = world.devices
    while first.phase is not Phase.SYNCED:
        assert any(a(first) for a in (world.take_input, world.do_job, world.deliver_to_relay, world.deliver_to_device))

    # The second never does a job past its greeting: its frames stay unanswered.
    for _ in range(1_000):
        for action in (world.take_input, world.deliver_to_relay, world.deliver_to_device):
            action(second)
        if second.jobs and not isinstance(second.jobs[0], dv.Apply):
            world.do_job(second)

    state = second.session.state
    assert isinstance(state, live.Live)
    assert len(state.unapplied) == WINDOW_FRAMES
    world.settle()
    assert_everybody_holds_everything(world)


def test_a_relay_that_goes_past_the_window_is_left() -> None:
    world = world_with(1)
    world.settle()
    (device,) = world.devices

    for number in range(WINDOW_FRAMES + 1):
        device.inputs.append(dv.FrameReceived(Envelopes(0, Position(number + 9), False, ()).encode()))
    while world.take_input(device):
        pass

    assert device.phase is Phase.REFUSED


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64), st.integers(0, 40))
def test_garbage_from_a_relay_ends_the_connection_and_never_the_device(garbage: bytes, steps: int) -> None:
    world = world_with(2)
    (device,) = world.devices
    actions = (world.take_input, world.do_job, world.deliver_to_relay, world.deliver_to_device)
    for number in range(steps):
        actions[number % 4](device)

    device.inputs.append(dv.FrameReceived(garbage))

    world.settle()
    assert_everybody_holds_everything(world)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64), st.integers(0, 40))
def test_garbage_from_a_device_ends_its_connection_and_harms_nobody(garbage: bytes, steps: int) -> None:
    world = world_with(2, 2)
    device = world.devices[0]
    actions = (world.take_input, world.do_job, world.deliver_to_relay, world.deliver_to_device)
    for number in range(steps):
        actions[number % 4](device)

    if device.link is not None:
        device.link.to_relay.append(garbage)

    world.settle()
    assert_everybody_holds_everything(world)


def test_a_stopped_session_answers_nothing() -> None:
    world = world_with(1)
    world.settle()
    (device,) = world.devices

    device.inputs.append(dv.Shutdown())
    world.run()
    device.sent.clear()
    device.inputs.extend([dv.LocalChange(1), dv.TimerFired(), dv.Start(), dv.Disconnected("late")])
    world.run()

    assert device.phase is Phase.STOPPED
    assert device.sent == []


def test_a_stranger_is_told_goodbye_and_keeps_asking_slowly() -> None:
    world = world_with(1)
    (device,) = world.devices
    _, other_epoch_key = found_space(bytes(32), lambda count: bytes(count))
    device.replica.keys = replace(device.replica.keys, access=access_key(other_epoch_key))

    world.run()

    assert device.phase is Phase.REFUSED
    assert "access key" in device.session.shown.detail
    assert device.is_timer_set
