"""Faults of members: events that no honest app writes, well-formed and signed by a member who wrote them by hand."""

import random

from driftlog._core.event import Record
from driftlog._core.limits import EVENT_PAYLOAD_BYTES_MAX
from driftlog.testing.simulation.faults.registry import fault
from driftlog.testing.simulation.stranger import stranger_of
from driftlog.testing.simulation.world import World

DAY_MS = 24 * 3_600_000
_POISON = (
    b"\x80",
    b"\x90",
    b"\xc0",
    b"\x81\xa1x\x01",
    b"\x81\xa2id\xc4\x01\x00",
    b"\x83\xa2id\xa0\xa4text\xa0\xa4more\xc3",
)
"""MessagePack that fits no event, or none that an app expects: empty, a list, nothing, a field of another name or type."""


@fault
def an_event_of_an_unknown_type(world: World, rng: random.Random) -> None:
    stranger_of(world).write(rng, "an event of an unknown type", [_record(world, rng, name="no.such.type")])


@fault
def a_poison_event(world: World, rng: random.Random) -> None:
    """Of a type that the app knows, with a payload that it cannot have made."""
    stranger = stranger_of(world)
    name, version = rng.choice(stranger.event_types)
    payload = rng.choice(_POISON)
    stranger.write(rng, "a poison event", [_record(world, rng, name=name, version=version, payload=payload)])


@fault
def an_event_as_large_as_can_be(world: World, rng: random.Random) -> None:
    """And one that is larger, which must be refused."""
    stranger = stranger_of(world)
    name, version = rng.choice(stranger.event_types)
    size = EVENT_PAYLOAD_BYTES_MAX - 10 + rng.choice((0, 0, 100))
    payload = b"\x81\xa2id\xc6" + size.to_bytes(4, "big") + bytes(size)
    record = _record(world, rng, name=name, version=version, payload=payload[: size + 10])
    stranger.write(rng, "an event as large as can be", [record])


@fault
def an_event_from_the_future(world: World, rng: random.Random) -> None:
    ahead_ms = rng.choice((DAY_MS + 60_000, 10 * DAY_MS, 10 * 365 * DAY_MS))
    stranger_of(world).write(rng, "an event from the future", [_record(world, rng, ahead_ms=ahead_ms)])


@fault
def an_event_dated_back(world: World, rng: random.Random) -> None:
    """Behind its author's own last one, so that it counts for nobody; or only behind everybody else's."""
    behind_ms = rng.choice((1, 60_000, 100 * DAY_MS))
    stranger_of(world).write(rng, "an event dated back", [_record(world, rng, ahead_ms=-behind_ms)])


@fault
def a_member_tells_two_stories(world: World, rng: random.Random) -> None:
    stranger_of(world).fork(rng, "a member tells two stories", _record(world, rng), _record(world, rng, name="other"))


def _record(
    world: World,
    rng: random.Random,
    *,
    name: str = "no.such.type",
    version: int = 1,
    payload: bytes = b"\x80",
    ahead_ms: int = 0,
) -> Record:
    at_ms = world.loop.now_ms + ahead_ms
    return Record(stranger_of(world).stamp(at_ms, rng), at_ms, name, version, payload)
