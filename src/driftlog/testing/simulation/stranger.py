"""A hostile member: it has the space's keys and a chain of its own, and hands its envelopes to whichever device it meets."""

import random
from weakref import WeakKeyDictionary, proxy

from driftlog._core.batch import Batch
from driftlog._core.clock import Hlc
from driftlog._core.event import Record
from driftlog._core.genesis import Invite
from driftlog._core.ids import NO_ENVELOPE, BatchSeq, EnvelopeHash
from driftlog._crypto.keys import SEED_BYTES, SpaceKeys
from driftlog._crypto.seal import seal
from driftlog.errors import DriftlogError
from driftlog.testing.simulation.loop import Killed
from driftlog.testing.simulation.world import World


class Stranger:
    """The hostile member of one world."""

    def __init__(self, world: World) -> None:
        self._world = proxy(world)  # or the world, whose stranger this is, would never go
        self._entropy = world.random("entropy of the stranger")
        invite = Invite.parse(world.link)
        self._keys = SpaceKeys.of(self._entropy.randbytes(SEED_BYTES), invite.genesis, invite.epoch_key)
        world.ledger.may_fork.add(self._keys.device_key)
        self._number = 0
        self._previous = NO_ENVELOPE
        self._last_hlc = 0
        self.event_types = sorted(world.versions[-1].app._materializers)

    def stamp(self, at_ms: int, rng: random.Random) -> Hlc:
        """Draw a stamp at about a time."""
        return Hlc((max(0, at_ms) << 16) + rng.choice((1, 2, 0xFFFF)))

    def write(self, rng: random.Random, fault: str, records: list[Record]) -> None:
        """Seal records and go on from them."""
        raw, hashed = self._seal(records)
        # What nobody has taken is not gone on from: everything after it would wait for ever.
        if self._hand_over(rng, fault, raw):
            self._number += 1
            self._previous = hashed

    def fork(self, rng: random.Random, fault: str, one: Record, other: Record) -> None:
        """Seal two envelopes for one place, hand over both, and go on from the first."""
        second, _ = self._seal([other])
        self.write(rng, fault, [one])
        self._hand_over(rng, fault, second)

    def _seal(self, records: list[Record]) -> tuple[bytes, EnvelopeHash]:
        number = BatchSeq(self._number + 1)
        envelope = seal(Batch(tuple(records)), self._keys, number, self._previous, self._entropy.randbytes)
        return envelope.raw, envelope.hash

    def _hand_over(self, rng: random.Random, fault: str, raw: bytes) -> bool:
        up = self._world.up()
        if not up:
            return False
        device = rng.choice(up)
        self._world.count(fault, f"given to {device.name}")
        process = device.processes[0]
        try:
            with self._world.loop.as_host(process.host):
                return not process.space.receive([raw]).refused
        except DriftlogError as error:
            self._world.note(f"{device.name}: {type(error).__name__}: {device.without_path(str(error))}")
        except Killed:
            self._world.killed(process.host)
        return False


_strangers: WeakKeyDictionary[World, Stranger] = WeakKeyDictionary()


def stranger_of(world: World) -> Stranger:
    """Give the world's stranger, who comes when first called."""
    found = _strangers.get(world)
    if found is None:
        found = _strangers[world] = Stranger(world)
    return found
