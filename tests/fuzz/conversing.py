"""Inputs that are conversations: frames for a relay's session, frames for a device's, envelopes for a space.

None of them is ever to raise: a session says goodbye or hangs up, a space says of each envelope why it was refused.
"""

from typing import Final

from driftlog._core.envelope import Envelope
from driftlog._core.genesis import Invite
from driftlog._crypto.verify import is_signed
from driftlog._protocol import device_values as dv
from driftlog._protocol import relay_session as rs
from driftlog.relay.checking import inspect
from tests.fuzz.seeds import APP_NAME, NOW_MS
from tests.protocol.fakes import EPOCH_KEY, GENESIS, FakeRelayStore, entropy
from tests.protocol.world import Device, World
from tests.todo_app import Clock, todo_app
from tests.vectors.formats import read_uint

FRAMES_MAX: Final = 64
STEPS_MAX: Final = 1_000
APP: Final = todo_app(APP_NAME)


def frames_of(data: bytes) -> list[bytes]:
    """Cut an input into frames; whatever the lengths say, it is all there is."""
    frames: list[bytes] = []
    at = 0
    while at < len(data) and len(frames) < FRAMES_MAX:
        try:
            size, at = read_uint(data, at)
        except IndexError:
            return frames
        frames.append(data[at : at + size])
        at += size
    return frames


def with_relay(data: bytes) -> None:
    """Give a relay's session frames, and do what it asks for with a store in memory, until it hangs up."""
    store = FakeRelayStore()
    session, effects = rs.begin(store.birthday, bytes(32))
    inputs: list[rs.Input] = [rs.FrameReceived(frame) for frame in frames_of(data)]
    for _ in range(STEPS_MAX):
        for effect in effects:
            match effect:
                case rs.Admit(genesis):
                    inputs.insert(0, store.admit(genesis.space))
                case rs.Store(envelopes):
                    inputs.insert(0, rs.Outcomes(tuple(_stored(store, raw) for raw in envelopes)))
                case rs.Prove(heads):
                    inputs.insert(0, store.prove(heads))
                case rs.ReadPage():
                    inputs.insert(0, store.page(effect))
                case rs.Close():
                    return
                case _:
                    pass
        if not inputs:
            return
        session, effects = rs.step(session, inputs.pop(0), is_signed)
    raise AssertionError("a relay's session that never comes to rest")


def _stored(store: FakeRelayStore, raw: bytes) -> rs.Outcome:
    found = inspect(GENESIS.space, raw)
    return store.store(raw) if isinstance(found, Envelope) else found


def with_device(data: bytes) -> None:
    """Give a device's session frames of a relay that says what it likes."""
    world = World(1)
    device = world.devices[0]
    device.replica.append()
    _settle(world, device)
    for frame in frames_of(data):
        device.inputs.append(dv.FrameReceived(frame))
        _settle(world, device)
    world.fire_timer(device)
    _settle(world, device)


def _settle(world: World, device: Device) -> None:
    for _ in range(STEPS_MAX):
        if not world.take_input(device) and not world.do_job(device):
            return
    raise AssertionError("a device's session that never comes to rest")


def with_space(data: bytes) -> None:
    """Give a new member's space envelopes, then ask it everything."""
    link = Invite(APP_NAME, GENESIS, EPOCH_KEY).link()
    with APP.join(":memory:", link, clock=Clock(NOW_MS), entropy=entropy) as space:
        space.receive(frames_of(data))
        space.receive(frames_of(data)[::-1])
        entries = list(space.log())
        space.status()
        space.rejected()
        found = space.verify()
        assert not found, f"{found} after {len(entries)} entries"
        before = space.digest()
        space.rebuild()
        assert space.digest() == before, "a rebuild changes the view"
