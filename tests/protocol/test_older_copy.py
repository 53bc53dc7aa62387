"""A device whose relay has more of its own chain than it has: nothing is sealed before that has come, or will not."""

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
    replica.own_when_asked.clear()
    world.cut(device)
    world.settle()

    assert device.phase is Phase.SYNCED
    assert set(replica.own_when_asked) == {5}


def state_and_asked(moved: Moved) -> tuple[Live, int]:
    """Give the state, and how often the replica is asked for more, which it seals first."""
    assert isinstance(moved, tuple)
    state, effects = moved
    return state, sum(isinstance(effect, dv.LoadOutgoing) for effect in effects)


def test_what_a_relay_says_it_has_and_never_gives_holds_nothing_up() -> None:
    replica = FakeReplica(0)
    own = replica.keys.device_key
    claimed = Welcome(BIRTHDAY, Position(4), VersionVector({own: (Head(BatchSeq(9), EnvelopeHash(bytes(32))),)}))
    greeting = Greeting(replica.genesis, own, BIRTHDAY, Position(4), VersionVector())

    state, asked = state_and_asked(welcomed(greeting, claimed, 1, SyncState(Phase.CONNECTING), 0))
    assert asked == 0
    state, asked = state_and_asked(heard(state, 1, Envelopes(0, Position(4), is_caught_up=True, envelopes=())))
    assert asked == 0
    state, asked = state_and_asked(answered(state, 1, dv.Known(1, VersionVector())))
    assert asked == 0
    state, asked = state_and_asked(heard(state, 1, Envelopes(1, Position(4), is_caught_up=True, envelopes=())))
    assert asked == 1
    state, asked = state_and_asked(answered(state, 1, dv.Outgoing(1, ())))
    assert state.shown.phase is Phase.SYNCED
