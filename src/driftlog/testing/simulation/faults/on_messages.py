"""Faults of the network: messages that are lost, repeated, late, out of order or altered, and connections that end.

A WebSocket over TLS does none of the former; a broken proxy, or a relay that lies, can do all of them.
"""

import random
from collections.abc import Callable

from driftlog.testing.simulation.faults.registry import fault
from driftlog.testing.simulation.network import End, Passage
from driftlog.testing.simulation.world import World

Become = Callable[[End, bytes, random.Random], list[Passage]]


def _for_a_while(world: World, rng: random.Random, name: str, become: Become) -> None:
    """Let messages meet a fate for a while, at a rate that is drawn; count each that does."""
    rate = rng.choice((0.05, 0.2, 0.5))
    number = world.next_number()

    def tap(end: End, data: bytes) -> list[Passage]:
        if rng.random() >= rate:
            return [Passage(data)]
        world.count(name)
        return become(end, data, rng)

    world.network.taps[number] = tap
    world.later(rng.choice((100, 1_000, 10_000)), lambda: world.network.taps.pop(number))


@fault
def a_message_is_dropped(world: World, rng: random.Random) -> None:
    world.is_honest = False
    _for_a_while(world, rng, "a message is dropped", _lost)


@fault
def a_message_is_repeated(world: World, rng: random.Random) -> None:
    world.is_honest = False

    def repeat(end: End, data: bytes, rng: random.Random) -> list[Passage]:
        old = rng.choice(end.sent) if end.sent and rng.random() < 0.5 else data
        return [Passage(data), Passage(old, rng.randint(0, 500), is_in_order=rng.random() < 0.5)]

    _for_a_while(world, rng, "a message is repeated", repeat)


@fault
def a_message_is_late(world: World, rng: random.Random) -> None:
    """And with it all that were sent after it: by seconds, or by days, if anybody waits that long."""
    delays = (1_000, 10_000, 50_000, 3 * 24 * 3_600_000)
    _for_a_while(world, rng, "a message is late", lambda _, data, rng: [Passage(data, rng.choice(delays))])


@fault
def messages_overtake_each_other(world: World, rng: random.Random) -> None:
    world.is_honest = False
    _for_a_while(
        world,
        rng,
        "messages overtake each other",
        lambda _, data, rng: [Passage(data, rng.randint(50, 2_000), is_in_order=False)],
    )


@fault
def a_message_is_cut_short(world: World, rng: random.Random) -> None:
    world.is_honest = False
    _for_a_while(
        world, rng, "a message is cut short", lambda _, data, rng: [Passage(data[: rng.randrange(len(data) + 1)])]
    )


@fault
def bits_flip_in_a_message(world: World, rng: random.Random) -> None:
    world.is_honest = False

    def flip(_: End, data: bytes, rng: random.Random) -> list[Passage]:
        altered = bytearray(data)
        for _bit in range(rng.choice((1, 1, 3))):
            if altered:
                altered[rng.randrange(len(altered))] ^= 1 << rng.randrange(8)
        return [Passage(bytes(altered))]

    _for_a_while(world, rng, "bits flip in a message", flip)


@fault
def a_connection_is_cut(world: World, rng: random.Random) -> None:
    ends = list(world.network.ends.values())
    if ends:
        world.count("a connection is cut")
        world.network.cut(rng.choice(ends))


@fault
def all_connections_are_cut_again_and_again(world: World, rng: random.Random) -> None:
    """A storm of reconnections."""

    def cut(times: int) -> None:
        ends = [end for end in world.network.ends.values() if end.number % 2 == 0]
        if ends:
            world.count("all connections are cut again and again")
        for end in ends:
            world.network.cut(end)
        if times > 1:
            world.later(rng.randint(1, 2_000), lambda: cut(times - 1))

    cut(rng.randint(2, 6))


@fault
def one_direction_is_shut(world: World, rng: random.Random) -> None:
    """What one end says does not arrive, while it hears the other."""
    ends = list(world.network.ends.values())
    if ends:
        end = rng.choice(ends)
        _shut(world, rng, [(end.host.name, end.other.host.name)], "one direction is shut")


@fault
def a_device_is_cut_off(world: World, rng: random.Random) -> None:
    """Neither direction passes, and nothing says so."""
    up, servers = world.up(), [relay.server for relay in world.relays if relay.server is not None]
    if up and servers:
        hosts = [process.host.name for process in rng.choice(up).processes]
        ways = [(host, server.host.name) for host in hosts for server in servers]
        _shut(world, rng, [*ways, *((there, here) for here, there in ways)], "a device is cut off")


def _lost(_: End, __: bytes, ___: random.Random) -> list[Passage]:
    return []


def _shut(world: World, rng: random.Random, ways: list[tuple[str, str]], name: str) -> None:
    world.count(name, f"{ways[0][0]} to {ways[0][1]}")
    for way in ways:
        world.network.shut_direction(*way)

    def reopen() -> None:
        for way in ways:
            world.network.open_direction(*way)

    world.later(rng.choice((500, 5_000, 60_000)), reopen)
