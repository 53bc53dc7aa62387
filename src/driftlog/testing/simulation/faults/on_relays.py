"""Faults of relays: they die, forget, come back as others, run out of room, withhold, and tell two stories."""

import random

from driftlog._core.envelope import parse_envelope
from driftlog._core.wire import Malformed
from driftlog._protocol.messages import Envelopes, decode_from_relay
from driftlog.relay.writing import SPACE_BYTES_MAX
from driftlog.testing.simulation.faults.registry import fault
from driftlog.testing.simulation.network import End, Passage
from driftlog.testing.simulation.relay import RelayHost
from driftlog.testing.simulation.world import World


def _one_up(world: World, rng: random.Random) -> RelayHost | None:
    up = [relay for relay in world.relays if relay.server is not None]
    return rng.choice(up) if up else None


@fault
def a_relay_dies(world: World, rng: random.Random) -> None:
    """Between two steps, whichever they are, and is started again soon."""
    relay = _one_up(world, rng)
    if relay is not None and relay.server is not None:
        world.count("a relay dies", relay.name)
        relay.server.host.steps_left = rng.randint(0, 40)


@fault
def a_relay_is_down(world: World, rng: random.Random) -> None:
    relay = _one_up(world, rng)
    if relay is not None:
        world.count("a relay is down", relay.name)
        relay.crash()
        world.later(rng.choice((1_000, 20_000, 90_000)), lambda: world.start_relay(relay))


@fault
def a_relay_stands_still(world: World, rng: random.Random) -> None:
    relay = _one_up(world, rng)
    if relay is not None and relay.server is not None and not relay.server.host.is_paused:
        world.count("a relay stands still", relay.name)
        host = relay.server.host
        host.pause()
        world.later(rng.choice((100, 10_000, 70_000)), host.resume)


@fault
def a_relay_forgets_everything(world: World, rng: random.Random) -> None:
    relay = _one_up(world, rng)
    if relay is not None:
        world.count("a relay forgets everything", relay.name)
        relay.put(None)
        world.ledger.relay_lost()


@fault
def a_relay_is_set_back(world: World, rng: random.Random) -> None:
    """Its file is replaced by an older copy of itself: the birthday is the same."""
    relay = _one_up(world, rng)
    if relay is None:
        return
    image, may_be_damaged = world.disk.take(relay.name), relay.may_be_damaged

    def set_back() -> None:
        world.count("a relay is set back", relay.name)
        relay.put(image, may_be_damaged=may_be_damaged)
        world.ledger.relay_lost()

    world.later(rng.choice((500, 3_000, 10_000)), set_back)


@fault
def relays_change_places(world: World, _: random.Random) -> None:
    """Another relay answers at the address; with one relay only, it is a new one."""
    if any(relay.server is None for relay in world.relays):
        return
    world.count("relays change places")
    for relay in world.relays:
        relay.crash()
    may_be_damaged = any(relay.may_be_damaged for relay in world.relays)
    images = [world.disk.take(relay.name) for relay in world.relays]
    others = [*images[1:], images[0]] if len(images) > 1 else [None]
    for relay, image in zip(world.relays, others, strict=True):
        relay.put(image, may_be_damaged=may_be_damaged)
    world.ledger.relay_lost()


@fault
def a_relay_is_over_its_quota(world: World, rng: random.Random) -> None:
    relay = _one_up(world, rng)
    if relay is not None:
        world.count("a relay is over its quota", relay.name)
        relay.set_quota(rng.choice((0, 1_000, 5_000, 20_000)))
        world.later(rng.choice((2_000, 20_000, 10_000_000)), lambda: relay.set_quota(SPACE_BYTES_MAX))


@fault
def a_relay_withholds(world: World, rng: random.Random) -> None:
    """Some devices' envelopes are not passed on, and the relay says that this was all."""
    relay = _one_up(world, rng)
    if relay is None:
        return
    kept = rng.randrange(4)
    number = world.next_number()

    def tap(end: End, data: bytes) -> list[Passage]:
        if relay.server is None or end.host is not relay.server.host or data[:1] != bytes([Envelopes.TYPE]):
            return [Passage(data)]
        try:
            message = decode_from_relay(data)
        except Malformed:  # another fault was here before
            return [Passage(data)]
        assert isinstance(message, Envelopes)
        passed = tuple(raw for raw in message.envelopes if _kind(raw) != kept)
        if len(passed) < len(message.envelopes):
            world.count("a relay withholds", relay.name)
            # The end of a chain is missed by nobody while the connection lives: the next WELCOME names it.
            end.is_tampered_with = True
        shown = Envelopes(message.walk, message.until, message.is_caught_up, passed)
        return [Passage(shown.encode())]

    world.is_honest = False
    world.network.taps[number] = tap
    world.later(rng.choice((1_000, 20_000)), lambda: world.network.taps.pop(number))


def _kind(raw: bytes) -> int:
    try:
        return sum(parse_envelope(raw).header.device) % 4
    except Malformed:
        return -1


@fault
def a_relay_tells_two_stories(world: World, rng: random.Random) -> None:
    """Half of the devices see another history than the rest, which then is lost."""
    relay = _one_up(world, rng)
    if relay is None or relay.twin is not None:
        return
    world.count("a relay tells two stories", relay.name)
    world.is_honest = False
    relay.fork()

    def unfork() -> None:
        relay.unfork()
        world.ledger.relay_lost()

    world.later(rng.choice((2_000, 20_000, 60_000)), unfork)
