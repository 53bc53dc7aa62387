"""What a statement about a view is made of, which events are neutral, and what stands for the events of a view."""

from hashlib import blake2b

import msgspec
import pytest

from driftlog._core.clock import Hlc, Timestamp
from driftlog._core.event import Record
from driftlog._core.ids import BatchSeq, DeviceKey, EnvelopeHash, EventHash
from driftlog._core.retraction import UNDONE
from driftlog._core.seen import SEEN
from driftlog._core.statement import (
    DIGEST,
    Statement,
    digest_of_events,
    encode_statement,
    is_neutral,
    is_statement,
    stated_by,
)
from driftlog._core.version_vector import Head

STATEMENT = Statement(b"p" * 16, b"e" * 32, b"v" * 32)
A, B = DeviceKey(b"a" * 32), DeviceKey(b"b" * 32)
PAYLOADS_REFUSED = {
    "no map": b"\x01",
    "nothing": b"",
    "a field more": msgspec.msgpack.encode({"program": b"p" * 16, "events": b"e" * 32, "view": b"v" * 32, "more": 1}),
    "a field less": msgspec.msgpack.encode({"program": b"p" * 16, "events": b"e" * 32}),
    "a text": msgspec.msgpack.encode({"program": "p" * 16, "events": b"e" * 32, "view": b"v" * 32}),
    "a long program": msgspec.msgpack.encode({"program": b"p" * 17, "events": b"e" * 32, "view": b"v" * 32}),
    "short events": msgspec.msgpack.encode({"program": b"p" * 16, "events": b"e" * 31, "view": b"v" * 32}),
    "no view": msgspec.msgpack.encode({"program": b"p" * 16, "events": b"e" * 32, "view": b""}),
}


def record(name: str, payload: bytes, version: int = 1) -> Record:
    return Record(Hlc(1), 0, name, version, payload)


def head(device: DeviceKey, seq: int, mark: bytes) -> tuple[DeviceKey, Head]:
    return device, Head(BatchSeq(seq), EnvelopeHash(mark * 32))


def test_what_was_stated_is_read() -> None:
    assert stated_by(record(DIGEST, encode_statement(STATEMENT))) == STATEMENT
    assert encode_statement(STATEMENT) == msgspec.msgpack.encode(
        {"program": b"p" * 16, "events": b"e" * 32, "view": b"v" * 32}
    )


@pytest.mark.parametrize("payload", PAYLOADS_REFUSED.values(), ids=PAYLOADS_REFUSED)
def test_a_payload_of_another_shape_states_nothing(payload: bytes) -> None:
    assert stated_by(record(DIGEST, payload)) is None
    assert is_statement(record(DIGEST, payload))


def test_another_name_or_version_is_no_statement() -> None:
    payload = encode_statement(STATEMENT)
    for other in (record("driftlog.other", payload), record(DIGEST, payload, 2)):
        assert stated_by(other) is None
        assert not is_statement(other)


def test_neutral_are_the_events_that_change_no_view_in_the_versions_that_are_known() -> None:
    assert is_neutral(record(DIGEST, b""))
    assert is_neutral(record(SEEN, b"\x80"))
    for other in (record(DIGEST, b"", 2), record(SEEN, b"", 2), record(UNDONE, b""), record("todo", b"")):
        assert not is_neutral(other)


def test_events_have_one_digest_in_whatever_order_they_are_named() -> None:
    heads = [head(A, 1, b"1"), head(B, 2, b"2")]
    held = [Timestamp(Hlc(9), A, EventHash(b"h" * 32)), Timestamp(Hlc(8), B, EventHash(b"h" * 32))]
    known = digest_of_events(heads, held)

    assert digest_of_events(reversed(heads), reversed(held)) == known
    assert digest_of_events([*heads, heads[0]], held) == known


def test_the_digest_of_events_is_what_the_format_says() -> None:
    heads = [head(B, 2, b"2"), head(A, 1, b"1")]
    held = [Timestamp(Hlc(9), A, EventHash(b"h" * 32)), Timestamp(Hlc(8), B, EventHash(b"h" * 32))]
    vector = b"\x01\x02" + A + b"\x01" + b"1" * 32 + B + b"\x02" + b"2" * 32
    places = (8).to_bytes(8, "big") + B + b"h" * 32 + (9).to_bytes(8, "big") + A + b"h" * 32

    expected = blake2b(b"\x01" + vector + places, digest_size=32, person=b"driftlog events").digest()

    assert digest_of_events(heads, held) == expected


def test_other_heads_and_other_held_events_have_another_digest() -> None:
    heads = [head(A, 1, b"1"), head(B, 2, b"2")]
    held = [Timestamp(Hlc(9), A, EventHash(b"h" * 32))]

    digests = {
        digest_of_events(heads, []),
        digest_of_events(heads, held),
        digest_of_events(heads[:1], []),
        digest_of_events([head(A, 1, b"1"), head(B, 2, b"3")], []),
        digest_of_events([head(A, 1, b"1"), head(B, 3, b"2")], []),
    }

    assert len(digests) == 5
