"""An envelope's header is read from the bytes as received, in one form, and every field out of its bounds is refused."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog._core.envelope import (
    BATCH_SEQ_MAX,
    HEADER_BYTES,
    OVERHEAD_BYTES,
    SIGNATURE_BYTES,
    Header,
    envelope_hash,
    parse_envelope,
)
from driftlog._core.ids import NO_ENVELOPE, BatchSeq, DeviceKey, EnvelopeHash, EpochId, SpaceId
from driftlog._core.limits import ENVELOPE_BYTES_MAX
from driftlog._core.wire import Malformed
from tests.core.drawing import cases, hashes
from tests.vectors import formats

numbers = st.integers(2, 5) | st.integers(2, BATCH_SEQ_MAX)
headers = st.builds(
    lambda space, epoch, device, place, nonce: Header(
        SpaceId(space), EpochId(epoch), DeviceKey(device), BatchSeq(place[0]), EnvelopeHash(place[1]), nonce
    ),
    hashes,
    st.binary(min_size=8, max_size=8),
    hashes,
    st.just((1, NO_ENVELOPE)) | st.tuples(numbers, hashes.filter(lambda drawn: drawn != NO_ENVELOPE)),
    st.binary(min_size=24, max_size=24),
)


def raw_of(header: Header, sealed: bytes, signature: bytes) -> bytes:
    return header.pack(len(sealed)) + sealed + signature


@pytest.mark.slow
@cases(1500)
@given(headers, st.binary(min_size=16, max_size=64), st.binary(min_size=64, max_size=64))
def test_an_envelope_is_read_as_it_was_written(header: Header, sealed: bytes, signature: bytes) -> None:
    raw = raw_of(header, sealed, signature)
    envelope = parse_envelope(raw)
    assert envelope.header == header
    assert (envelope.clear, envelope.sealed, envelope.signature) == (raw[:HEADER_BYTES], sealed, signature)
    assert envelope.clear + envelope.sealed + envelope.signature == envelope.raw == raw
    assert envelope.hash == formats.blake("driftlog envlp 1", raw[:-SIGNATURE_BYTES])
    assert formats.place_of(raw) == (header.device, header.batch_seq, header.previous, envelope.hash)


def test_a_second_writer_writes_the_same_header() -> None:
    author = formats.Author(b"d" * 32, b"", b"s" * 32, b"k" * 32)
    clear = formats.write_header(author, 7, b"p" * 32, b"n" * 24, 300)
    epoch = EpochId(formats.blake("driftlog epoch 1", author.epoch_key)[:8])
    header = Header(SpaceId(b"s" * 32), epoch, DeviceKey(b"d" * 32), BatchSeq(7), EnvelopeHash(b"p" * 32), b"n" * 24)
    assert header.pack(300) == clear
    assert len(clear) == HEADER_BYTES == formats.HEADER_BYTES


@pytest.mark.slow
@cases(1000)
@given(headers, st.binary(min_size=16, max_size=40), st.randoms(use_true_random=False))
def test_altered_bytes_are_refused_or_the_one_form_of_another_envelope(
    header: Header, sealed: bytes, rng: random.Random
) -> None:
    raw = raw_of(header, sealed, bytes(64))
    for _ in range(5):
        other = formats.altered(raw, rng.randrange(len(raw)), lambda byte: byte ^ 1 << rng.randrange(8))
        try:
            envelope = parse_envelope(other)
        except Malformed:
            continue
        assert raw_of(envelope.header, envelope.sealed, envelope.signature) == other
        # All but the signature has a part in the hash, which is what the signature covers.
        unsigned = len(raw) - SIGNATURE_BYTES
        assert (envelope.hash == envelope_hash(raw[:unsigned])) == (other[:unsigned] == raw[:unsigned])


def test_every_truncated_or_extended_envelope_is_refused() -> None:
    header = Header(SpaceId(bytes(32)), EpochId(bytes(8)), DeviceKey(bytes(32)), BatchSeq(1), NO_ENVELOPE, bytes(24))
    raw = raw_of(header, bytes(256), bytes(64))
    for end in range(len(raw)):
        with pytest.raises(Malformed):
            parse_envelope(raw[:end])
        if end:
            with pytest.raises(Malformed):
                parse_envelope(raw + bytes(end))


def test_arbitrary_bytes_are_refused_as_malformed_and_nothing_else() -> None:
    rng = random.Random(6)
    for _ in range(2000):
        data = bytearray(rng.randbytes(rng.randint(OVERHEAD_BYTES - 2, OVERHEAD_BYTES + 300)))
        data[:2] = b"\1\1"
        with pytest.raises(Malformed):
            parse_envelope(bytes(data))


GOOD = b"\1\1" + bytes(72) + (2).to_bytes(8, "big") + b"p" * 32 + bytes(24) + (16).to_bytes(4, "big") + bytes(80)
FIRST = GOOD[:74] + (1).to_bytes(8, "big") + bytes(32) + GOOD[114:]
REFUSED = {
    "nothing": (b"", "cut short"),
    "version 0": (b"\0" + GOOD[1:], "version 0"),
    "version 2": (b"\2" + GOOD[1:], "version 2.*update"),
    "a version alone": (b"\2", "version 2.*update"),
    "suite 0": (GOOD[:1] + b"\0" + GOOD[2:], "suite 0"),
    "suite 2": (GOOD[:1] + b"\2" + GOOD[2:], "suite 2.*update"),
    "number 0": (GOOD[:74] + bytes(8) + GOOD[82:], "number 0"),
    "number 0 without a predecessor": (GOOD[:74] + bytes(40) + GOOD[114:], "number 0"),
    "a number past 63 bits": (GOOD[:74] + (2**63).to_bytes(8, "big") + GOOD[82:], "number 9223372036854775808"),
    "number 1 with a predecessor": (GOOD[:74] + (1).to_bytes(8, "big") + GOOD[82:], "names a predecessor"),
    "number 2 without a predecessor": (GOOD[:82] + bytes(32) + GOOD[114:], "names no predecessor"),
    "a sealed part said to be longer": (GOOD[:138] + (17).to_bytes(4, "big") + GOOD[142:], "sealed part of 17"),
    "a sealed part said to be shorter": (GOOD[:138] + (15).to_bytes(4, "big") + GOOD[142:], "sealed part of 15"),
    "a sealed part said to be 4 GiB": (GOOD[:138] + b"\xff" * 4 + GOOD[142:], "sealed part of 4294967295"),
    "a sealed part without its tag": (GOOD[:138] + (15).to_bytes(4, "big") + GOOD[143:], "cut short"),
    "more than an envelope may have": (GOOD + bytes(ENVELOPE_BYTES_MAX), "limit"),
}


def test_the_envelopes_that_the_refusals_alter_are_themselves_read() -> None:
    assert parse_envelope(GOOD).header.batch_seq == 2
    assert parse_envelope(FIRST).header.previous == NO_ENVELOPE


@pytest.mark.parametrize(("raw", "why"), REFUSED.values(), ids=REFUSED)
def test_a_header_field_out_of_bounds_is_refused_and_named(raw: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        parse_envelope(raw)
