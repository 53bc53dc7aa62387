"""An event's hash covers what it says and its place, and a declaration that cannot be kept is refused at once."""

import random
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog._core.clock import Hlc
from driftlog._core.event import Event, Record, encode_event, place, version_of
from driftlog._core.ids import DeviceKey, EventHash, SpaceId
from driftlog._core.limits import CRITICAL_BIT, EVENT_VERSION_MAX
from driftlog._core.names import NAME_BYTES_MAX
from driftlog.errors import InvalidApp, InvalidEvent
from tests.core.drawing import cases, entry_of, hashes, records
from tests.vectors import formats


def hash_of(space: SpaceId, device: DeviceKey, record: Record) -> EventHash:
    return place(space, device, record).event_hash


@pytest.mark.slow
@cases(500)
@given(hashes, hashes, records())
def test_a_second_hasher_gives_the_same_hash(space: bytes, device: bytes, run: tuple[Record, ...]) -> None:
    for record in run:
        hashed = formats.event_hash(space, device, entry_of(record))
        assert place(SpaceId(space), DeviceKey(device), record) == (record.hlc, device, hashed)


def test_every_part_of_an_event_and_its_place_has_a_part_in_its_hash() -> None:
    space, device = SpaceId(b"s" * 32), DeviceKey(b"d" * 32)
    record = Record(Hlc(7 << 16), 7, "name", 1, b"\x80")
    others = {
        hash_of(space, device, record),
        hash_of(SpaceId(b"t" * 32), device, record),
        hash_of(space, DeviceKey(b"e" * 32), record),
        hash_of(space, device, record._replace(hlc=Hlc(8))),
        hash_of(space, device, record._replace(wall_ms=8)),
        hash_of(space, device, record._replace(wall_ms=-7)),
        hash_of(space, device, record._replace(name="nam")),
        hash_of(space, device, record._replace(name="nam", payload=b"e\x80")),
        hash_of(space, device, record._replace(marked_version=2)),
        hash_of(space, device, record._replace(marked_version=CRITICAL_BIT | 1)),
        hash_of(space, device, record._replace(payload=b"\x81\xa1k\x01")),
    }
    assert len(others) == 11


def test_random_records_never_share_a_hash() -> None:
    rng = random.Random(12)
    space = SpaceId(bytes(32))
    drawn = {
        (rng.randrange(3), rng.randrange(3), rng.choice("ab"), rng.randrange(1, 3), rng.choice((b"", b"a")))
        for _ in range(500)
    }
    hashed = {
        hash_of(space, DeviceKey(bytes([device])), Record(Hlc(hlc), 0, name, version, payload))
        for device, hlc, name, version, payload in drawn
    }
    assert len(hashed) == len(drawn)


@pytest.mark.parametrize(
    "name", ["", "a\nb", "a\0", "\ud800", "driftlog.x", "x" * (NAME_BYTES_MAX + 1), "é" * 128, "\u2028"]
)
def test_a_name_that_no_log_can_carry_is_refused_when_it_is_declared(name: str) -> None:
    with pytest.raises(InvalidApp, match="name"):
        types.new_class("Named", (Event,), {"name": name})


@pytest.mark.parametrize("version", [0, -1, EVENT_VERSION_MAX + 1])
def test_a_version_out_of_bounds_is_refused_when_it_is_declared(version: int) -> None:
    with pytest.raises(InvalidApp, match="version"):
        types.new_class("Versioned", (Event,), {"version": version})


class Said(Event):
    text: str
    count: int = 0


def test_an_event_is_named_after_its_class_frozen_and_compares_by_value() -> None:
    assert (Said.event_name, Said.event_version) == ("Said", 1)
    assert Said(text="a") == Said(text="a", count=0)
    with pytest.raises(AttributeError):
        Said(text="a").text = "b"


@cases(300)
@given(st.text(max_size=6), st.integers())
def test_an_event_is_encoded_or_refused_as_invalid_and_nothing_else(text: str, count: int) -> None:
    is_in_domain = "\0" not in text and -(2**63) <= count < 2**63 and not any("\ud800" <= c <= "\udfff" for c in text)
    try:
        encode_event(Said(text=text, count=count), is_float_allowed=False)
    except InvalidEvent:
        assert not is_in_domain
    else:
        assert is_in_domain


class LimitLowered(Event, name="limit.lowered", version=EVENT_VERSION_MAX, critical=True):
    limit: int


def test_a_critical_type_keeps_its_version_and_is_written_with_the_mark() -> None:
    assert LimitLowered.event_version == EVENT_VERSION_MAX
    assert LimitLowered.event_marked_version == 0xFFFF
    assert version_of(LimitLowered.event_marked_version) == EVENT_VERSION_MAX
    assert Said.event_marked_version == version_of(Said.event_marked_version) == 1
