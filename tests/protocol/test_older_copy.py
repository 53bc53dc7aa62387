"""A device whose relay has more of its own chain than it has: what is pending is sealed once that has come, or will not."""

from driftlog._core.ids import BatchSeq, Birthday, EnvelopeHash, Position
from driftlog._core.version_vector import Head, VersionVector
from driftlog._protocol import device_values as dv
from driftlog._protocol.device_values import Greeting, Phase, SyncState
from driftlog._protocol.live import Live, Moved, answered, heard, welcomed
from driftlog._protocol.messages import Envelopes, Welcome
from tests.protocol.fakes import FakeReplica
from tests.protocol.world import World

BIRTHDAY = Birthday(bytes(16))


def test_nothing_is_sealed_before_what_the_relay_has_of_it_has_come() -> None:
    world = World(1)
    device, replica = world.devices[0], world.devices[0].replica
    for _ in range(5):
        replica.append(size=1_500)
    world.settle()
    own = replica.keys.device_key
    replica.chains[own] = replica.chains[own][:2]
    replica.cursors.clear()
    world.cut(device)

    held_when_sealed = []
    while True:
        loads = [job for job in device.jobs if isinstance(job, dv.LoadOutgoing)]
        held_when_sealed += [len(replica.chains[own]) for job in loads if job.may_seal and job is device.jobs[0]]
        acted = world.do_job(device) or world.take_input(device) or world.deliver_to_relay(device)
        if not acted and not world.deliver_to_device(device) and not world.fire_timer(device):
            break
        if device.phase is Phase.SYNCED and len(replica.chains[own]) == 5:
            break

    assert held_when_sealed
    assert set(held_when_sealed) == {5}


def load(moved: Moved) -> tuple[Live, list[bool]]:
    """Give the state, and of each time that the replica is asked for more whether it may seal."""
    assert isinstance(moved, tuple)
    state, effects = moved
    return state, [effect.may_seal for effect in effects if isinstance(effect, dv.LoadOutgoing)]


def test_what_a_relay_says_it_has_and_never_gives_holds_nothing_up() -> None:
    keys = FakeReplica(0).keys
    claimed = VersionVector({keys.device_key: (Head(BatchSeq(9), EnvelopeHash(bytes(32))),)})
    greeting = Greeting(FakeReplica(0).genesis, keys.device_key, BIRTHDAY, Position(4), VersionVector())
    nothing_more = Envelopes(0, Position(4), is_caught_up=True, envelopes=())

    state, asked = load(welcomed(greeting, Welcome(BIRTHDAY, Position(4), claimed), 1, SyncState(Phase.CONNECTING), 0))
    assert asked == [False]
    state, asked = load(answered(state, 1, dv.Outgoing(1, ())))
    assert asked == []
    state, asked = load(heard(state, 1, nothing_more))
    assert asked == []
    state, asked = load(answered(state, 1, dv.Known(1, VersionVector())))
    assert asked == []
    state, asked = load(heard(state, 1, Envelopes(1, Position(4), is_caught_up=True, envelopes=())))
    assert asked == [True]
