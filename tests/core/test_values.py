"""The value domain is closed: what is in it survives, what is outside is refused, and each value has one form."""

import struct
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog._core.event import Event, encode_event
from driftlog._core.limits import EVENT_PAYLOAD_BYTES_MAX, VALUE_DEPTH_MAX
from driftlog._core.values import OutsideDomain, check_payload
from driftlog.errors import InvalidEvent
from tests.core.drawing import INT_MAX, INT_MIN, cases, fields, values
from tests.fuzz.colliding import colliding_keys
from tests.vectors.msgpack import pack, unpack


class Held(Event, name="held"):
    value: Any
    """Typed as anything on purpose: the value domain, not the annotation, has to refuse."""


def same(one: object, other: object) -> bool:
    """Compare with types and the sign of zero: 1, True and 1.0 are three values, and so are 0.0 and -0.0."""
    return repr(one) == repr(other)


@pytest.mark.slow
@cases(1000)
@given(fields)
def test_a_payload_of_the_domain_is_read_as_what_was_written(drawn: dict[str, object]) -> None:
    assert same(check_payload(pack(drawn), is_float_allowed=True), drawn)


@pytest.mark.slow
@cases(1500)
@given(values)
def test_an_event_is_encoded_in_the_one_form_that_a_second_writer_gives(value: object) -> None:
    payload = encode_event(Held(value=value), is_float_allowed=True)
    assert payload == pack({"value": value})
    assert same(unpack(payload, 0)[0], {"value": value})


@pytest.mark.slow
@cases(2000)
@given(fields.map(pack), st.data())
def test_an_altered_payload_is_refused_or_canonical(payload: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(payload) - 1))
    other = payload[:at] + bytes([data.draw(st.integers(0, 255))]) + payload[at + data.draw(st.integers(0, 2)) :]
    try:
        read = check_payload(other, is_float_allowed=True)
    except OutsideDomain:
        return
    assert pack(read) == other


@pytest.mark.slow
@cases(2000)
@given(st.binary(max_size=24))
def test_arbitrary_bytes_are_refused_or_canonical(payload: bytes) -> None:
    try:
        read = check_payload(payload, is_float_allowed=True)
    except OutsideDomain:
        return
    assert pack(read) == payload


def nested(levels: int, *, as_map: bool) -> object:
    value: object = 0
    for _ in range(levels):
        value = {"k": value} if as_map else [value]
    return value


OUTSIDE: dict[str, object] = {
    "not a number": float("nan"),
    "infinity": float("inf"),
    "negative infinity": float("-inf"),
    "an integer past 63 bits": INT_MAX + 1,
    "an integer past 64 bits": 2**64,
    "an integer below 63 bits": INT_MIN - 1,
    "text with NUL": "a\0b",
    "a key with NUL": {"a\0": 1},
    "a key that is an integer": {1: 1},
    "a key that is bytes": {b"k": 1},
    "a lone surrogate": "\ud800",
    "a key with a lone surrogate": {"\udfff": 1},
    "lists nested too deep": nested(VALUE_DEPTH_MAX, as_map=False),
    "maps nested too deep": nested(VALUE_DEPTH_MAX, as_map=True),
    "nesting past the interpreter's stack": nested(5000, as_map=False),
    "an extension type": msgspec.msgpack.Ext(5, b"x"),
    "an object": object(),
    "more than a payload holds": b"x" * EVENT_PAYLOAD_BYTES_MAX,
}


@pytest.mark.parametrize("value", OUTSIDE.values(), ids=OUTSIDE)
@pytest.mark.parametrize(
    "wrap", [lambda v: v, lambda v: [v], lambda v: {"k": v}], ids=["bare", "in a list", "in a map"]
)
def test_an_event_with_a_value_outside_the_domain_is_refused(value: object, wrap: Any) -> None:
    with pytest.raises(InvalidEvent):
        encode_event(Held(value=wrap(value)), is_float_allowed=True)


@pytest.mark.parametrize("as_map", [False, True])
def test_nesting_up_to_the_limit_is_allowed_and_one_more_is_not(as_map: bool) -> None:
    check_payload(pack({"k": nested(VALUE_DEPTH_MAX - 1, as_map=as_map)}), is_float_allowed=False)
    with pytest.raises(OutsideDomain, match="nested"):
        check_payload(pack({"k": nested(VALUE_DEPTH_MAX, as_map=as_map)}), is_float_allowed=False)


@pytest.mark.parametrize("value", [0.0, -0.0, 1.5, 1e308, 5e-324])
def test_a_float_needs_the_apps_consent(value: float) -> None:
    for wrapped in (value, [value], {"k": [value]}):
        payload = pack({"k": wrapped})
        assert same(check_payload(payload, is_float_allowed=True), {"k": wrapped})
        with pytest.raises(OutsideDomain, match="float"):
            check_payload(payload, is_float_allowed=False)


@pytest.mark.parametrize("value", [INT_MIN, INT_MAX, -1, 0])
def test_the_ends_of_64_bits_are_in_the_domain(value: int) -> None:
    assert check_payload(pack({"k": value}), is_float_allowed=False) == {"k": value}


NOT_CANONICAL = {
    "no bytes": b"",
    "a bare integer": pack(1),
    "a list of fields": pack([1]),
    "bytes after the map": pack({"k": 1}) + b"\0",
    "a cut map": pack({"k": 1})[:-1],
    "a key twice": b"\x82" + pack("k") + pack(1) + pack("k") + pack(1),
    "a key twice, with two values": b"\x82" + pack("k") + pack(1) + pack("k") + pack(2),
    "an integer in a longer form": b"\x81" + pack("k") + b"\xcc\x01",
    "a positive integer in a signed form": b"\x81" + pack("k") + b"\xd0\x01",
    "an integer past 63 bits": b"\x81" + pack("k") + b"\xcf" + b"\xff" * 8,
    "text in a longer form": b"\x81" + b"\xd9\x01k" + pack(1),
    "a map in a longer form": b"\xde\x00\x01" + pack("k") + pack(1),
    "a single-precision float": b"\x81" + pack("k") + b"\xca" + struct.pack(">f", 1.5),
    "NaN": b"\x81" + pack("k") + b"\xcb" + struct.pack(">d", float("nan")),
    "infinity": b"\x81" + pack("k") + b"\xcb" + struct.pack(">d", float("inf")),
    "text that is not UTF-8": b"\x81" + pack("k") + b"\xa1\xff",
    "an encoded surrogate": b"\x81" + pack("k") + b"\xa3\xed\xa0\x80",
    "text with NUL": pack({"k": "\0"}),
    "a name with NUL": pack({"\0": 1}),
    "a name with NUL before null": pack({"\0": None}),
    "a name that is an integer": b"\x81\x01\x01",
    "a name that is bytes": b"\x81\xc4\x01k\x01",
    "a name that is a list": b"\x81\x90\x01",
    "a name that is a map": b"\x81\x80\x01",
    "an inner key that is an integer": b"\x81" + pack("k") + b"\x81\x01\x01",
    "a timestamp": b"\x81" + pack("k") + b"\xd6\xff" + bytes(4),
    "an extension": b"\x81" + pack("k") + b"\xd4\x05\x00",
    "the code that is never used": b"\x81" + pack("k") + b"\xc1",
    "a list that claims 4 GiB": b"\x81" + pack("k") + b"\xdd" + b"\xff" * 4,
    "text that claims 4 GiB": b"\x81" + pack("k") + b"\xdb" + b"\xff" * 4,
    "an empty list in the longest form, in a large payload": b"\x82"
    + pack("a" * 2_000)
    + b"\xc0\xa1k\x91\xdd"
    + bytes(4),
    "a hundred thousand nested lists": b"\x81" + pack("k") + b"\x91" * 100_000 + b"\x90",
    "a payload past the limit": pack({"k": bytes(EVENT_PAYLOAD_BYTES_MAX)}),
}


@pytest.mark.parametrize("payload", NOT_CANONICAL.values(), ids=NOT_CANONICAL)
def test_a_received_payload_that_is_not_canonical_is_refused(payload: bytes) -> None:
    with pytest.raises(OutsideDomain):
        check_payload(payload, is_float_allowed=True)


def test_keys_whose_hashes_were_made_equal_cost_no_more_than_others() -> None:
    """Each would be compared with all before it, were a dict made of them: 300 ms for a payload that now takes one."""
    keys = colliding_keys(4_000)
    as_map = b"\xde" + len(keys).to_bytes(2, "big") + b"".join(key + b"\xc0" for key in keys)
    twice = b"\x82\xa1k" + as_map + b"\xa1k\xc0"
    for payload in (as_map, b"\x81\xa1k" + as_map, twice, b"\x81\xa1m" + twice):
        before = time.thread_time()
        with pytest.raises(OutsideDomain, match=r"key that is not text|a key twice"):
            check_payload(payload, is_float_allowed=True)
        assert time.thread_time() - before < 0.1


def test_a_long_key_around_many_values_is_read_at_the_cost_of_its_bytes() -> None:
    """Its path was made for each value: ten thousand copies of half a megabyte."""
    payload = pack({"\U0001f600" + "k" * 110_000: [None] * 9_990})
    before = time.thread_time()
    check_payload(payload, is_float_allowed=False)
    assert time.thread_time() - before < 0.1


@pytest.mark.parametrize(
    "value", [{"\0" * 100_000: 1}, {"k" * 100_000: 1.5}, {"k": {"l" * 100_000: {"m\0" * 9_000: 1}}}]
)
def test_a_refusal_does_not_repeat_a_long_key(value: dict[str, object]) -> None:
    with pytest.raises(OutsideDomain) as refused:
        check_payload(pack(value), is_float_allowed=False)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("size", [1, 60])
def test_too_many_values_are_refused_however_they_lie(size: int) -> None:
    """Small payloads and large ones are looked at in two ways, which agree."""
    fits = {"k" * size: [[0] * 100] * 98}
    check_payload(pack(fits), is_float_allowed=False)
    with pytest.raises(OutsideDomain, match="nests more"):
        check_payload(pack({**fits, "more": [[0] * 100] * 2}), is_float_allowed=False)
