"""A batch has one form: what decodes encodes back to the same bytes, and everything else is refused."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog._core.batch import (
    BATCH_BYTES_GOAL,
    PADDED_BYTES_MIN,
    RECORD_OVERHEAD_BYTES,
    Batch,
    decode_batch,
    encode_batch,
    padded_size,
    split_records,
)
from driftlog._core.clock import Hlc
from driftlog._core.envelope import OVERHEAD_BYTES
from driftlog._core.event import Record
from driftlog._core.limits import ENVELOPE_BYTES_MAX, ENVELOPE_EVENTS_MAX, EVENT_PAYLOAD_BYTES_MAX
from driftlog._core.names import NAME_BYTES_MAX
from driftlog._core.wire import Malformed
from tests.core.drawing import batches, cases, entry_of
from tests.vectors import formats
from tests.vectors.msgpack import pack


def entries_of(batch: Batch) -> list[formats.Entry]:
    return [entry_of(record) for record in batch.records]


@pytest.mark.slow
@cases(600)
@given(batches)
def test_a_batch_is_read_as_it_was_written_and_as_a_second_writer_writes_it(batch: Batch) -> None:
    plain = encode_batch(batch)
    heads = [(device, head.batch_seq, head.hash) for device, head in batch.heads]
    assert decode_batch(plain) == batch
    assert plain == formats.write_batch(entries_of(batch), heads)
    assert formats.read_batch(plain) == (tuple(entries_of(batch)), tuple(heads))


def refused_or_canonical(plain: bytes) -> bool:
    try:
        batch = decode_batch(plain)
    except Malformed:
        return True
    return encode_batch(batch) == plain


@pytest.mark.slow
@cases(500)
@given(batches, st.randoms(use_true_random=False))
def test_an_altered_batch_is_refused_or_the_one_form_of_something_else(batch: Batch, rng: random.Random) -> None:
    plain = encode_batch(batch)
    end = 4 + int.from_bytes(plain[:4], "big")
    for _ in range(4):
        at = rng.randrange(end)
        assert refused_or_canonical(formats.altered(plain, at, lambda byte: byte ^ 1 << rng.randrange(8)))
    at = rng.randrange(end, len(plain)) if end < len(plain) else 0
    assert refused_or_canonical(formats.altered(plain, at, lambda byte: byte ^ 1 << rng.randrange(8)))


@pytest.mark.slow
@cases(300)
@given(batches)
def test_every_altered_byte_of_the_padding_is_refused(batch: Batch) -> None:
    plain = encode_batch(batch)
    for at in range(4 + int.from_bytes(plain[:4], "big"), len(plain)):
        with pytest.raises(Malformed, match="padding"):
            decode_batch(formats.altered(plain, at, lambda byte: byte + 1))


@pytest.mark.slow
@cases(300)
@given(batches, st.randoms(use_true_random=False))
def test_every_truncated_or_extended_batch_is_refused(batch: Batch, rng: random.Random) -> None:
    plain = encode_batch(batch)
    for other in (plain[: rng.randrange(len(plain))], plain[:-1], plain + b"\0", plain[1:], plain + plain):
        with pytest.raises(Malformed):
            decode_batch(other)


@pytest.mark.slow
@cases(300)
@given(batches, st.randoms(use_true_random=False))
def test_content_cut_anywhere_is_refused_even_when_it_is_padded_anew(batch: Batch, rng: random.Random) -> None:
    plain = encode_batch(batch)
    body = plain[4 : 4 + int.from_bytes(plain[:4], "big")]
    cut = body[: rng.randrange(len(body))]
    with pytest.raises(Malformed):
        decode_batch(formats.padded(len(cut).to_bytes(4, "big") + cut))


def test_a_padded_size_is_at_most_12_percent_above_the_content_or_the_floor() -> None:
    rng = random.Random(4)
    for size in [*range(5000), *(rng.randrange(ENVELOPE_BYTES_MAX) for _ in range(5000))]:
        padded = padded_size(size)
        assert padded >= max(size, PADDED_BYTES_MIN)
        assert padded <= max(PADDED_BYTES_MIN, size * 1.12)
        assert padded_size(padded) == padded
        assert padded_size(size + 1) >= padded
        assert len(formats.padded(bytes(size))) == padded


def test_padding_leaves_few_lengths() -> None:
    # Without padding a length has as many values as bits allow; with it, a few for each power of two.
    assert len({padded_size(size) for size in range(ENVELOPE_BYTES_MAX)}) < 260


ONE = formats.Entry(5 << 16, 5, "a", 1, pack({}))


def body(*parts: bytes) -> bytes:
    content = b"".join(parts)
    return formats.padded(len(content).to_bytes(4, "big") + content)


def record(step: bytes = b"\x05", wall: bytes = b"\x00", index: bytes = b"\x00", payload: bytes = b"\x80") -> bytes:
    return step + wall + index + formats.sized(payload)


HEAD = bytes(32) + b"\x01" + bytes(32)
HEAD_2 = b"\1" * 32 + b"\x01" + bytes(32)
TYPE = formats.sized(b"a") + b"\x01"
TYPE_2 = formats.sized(b"b") + b"\x01"
REFUSED = {
    "version": body(b"\x02\x00\x01", TYPE, b"\x01", record()),
    "version 0": body(b"\x00\x00\x01", TYPE, b"\x01", record()),
    "too many heads": body(b"\x01", formats.uint(4097), HEAD * 4097, b"\x01", TYPE, b"\x01", record()),
    "a head twice": body(b"\x01\x02", HEAD, HEAD, b"\x01", TYPE, b"\x01", record()),
    "heads out of order": body(b"\x01\x02", HEAD_2, HEAD, b"\x01", TYPE, b"\x01", record()),
    "a cut head": body(b"\x01\x01", HEAD[:-1]),
    "a head with number 0": body(b"\x01\x01", bytes(32) + b"\x00" + bytes(32), b"\x01", TYPE, b"\x01", record()),
    "a head past 63 bits": body(
        b"\x01\x01", bytes(32) + formats.uint(2**63) + bytes(32), b"\x01", TYPE, b"\x01", record()
    ),
    "no types": body(b"\x01\x00\x00\x01", record()),
    "a type twice": body(b"\x01\x00\x02", TYPE, TYPE, b"\x02", record(), record(index=b"\x01")),
    "a type that is not used": body(b"\x01\x00\x02", TYPE, TYPE_2, b"\x01", record()),
    "types out of the order of their use": body(
        b"\x01\x00\x02", TYPE, TYPE_2, b"\x02", record(index=b"\x01"), record()
    ),
    "a type that is not listed": body(b"\x01\x00\x01", TYPE, b"\x01", record(index=b"\x01")),
    "an empty name": body(b"\x01\x00\x01\x00\x01\x01", record()),
    "a name that is not UTF-8": body(b"\x01\x00\x01", formats.sized(b"\xff"), b"\x01\x01", record()),
    "a name that cannot be printed": body(b"\x01\x00\x01", formats.sized(b"a\n"), b"\x01\x01", record()),
    "a name too long": body(b"\x01\x00\x01", formats.sized(b"a" * 256), b"\x01\x01", record()),
    "event version 0": body(b"\x01\x00\x01", formats.sized(b"a"), b"\x00\x01", record()),
    "critical event version 0": body(b"\x01\x00\x01", formats.sized(b"a"), formats.uint(32768), b"\x01", record()),
    "an event version past 16 bits": body(b"\x01\x00\x01", formats.sized(b"a"), formats.uint(65536), b"\x01", record()),
    "no events": body(b"\x01\x00\x01", TYPE, b"\x00"),
    "too many events": body(b"\x01\x00\x01", TYPE, formats.uint(1001), record() * 1001),
    "more events than there are": body(b"\x01\x00\x01", TYPE, b"\x02", record()),
    "fewer events than there are": body(b"\x01\x00\x01", TYPE, b"\x01", record(), record()),
    "a stamp of 0": body(b"\x01\x00\x01", TYPE, b"\x01", record(step=b"\x00")),
    "a stamp twice": body(b"\x01\x00\x01", TYPE, b"\x02", record(), record(step=b"\x00")),
    "a stamp past 63 bits": body(b"\x01\x00\x01", TYPE, b"\x01", record(step=formats.uint(2**63))),
    "stamps that add up past 63 bits": body(
        b"\x01\x00\x01", TYPE, b"\x02", record(step=formats.uint(2**63 - 1)), record(step=b"\x01")
    ),
    "a wall time past 64 bits": body(
        b"\x01\x00\x01", TYPE, b"\x01", record(step=formats.uint(2**62), wall=formats.uint(2**64 - 2))
    ),
    "a payload past its limit": body(
        b"\x01\x00\x01", TYPE, b"\x01", record(payload=pack({"k": bytes(EVENT_PAYLOAD_BYTES_MAX)}))
    ),
    "a payload that is not a map": body(b"\x01\x00\x01", TYPE, b"\x01", record(payload=b"\x01")),
    "a payload that is not canonical": body(b"\x01\x00\x01", TYPE, b"\x01", record(payload=b"\xde\x00\x00")),
    "a count in a longer form": body(b"\x01\x80\x00\x01", TYPE, b"\x01", record()),
    "a length past the end": b"\xff\xff\xff\xff" + bytes(252),
    "a length short of the content": formats.altered(formats.write_batch([ONE]), 3, lambda byte: byte - 1),
    "less than the floor": formats.write_batch([ONE])[:255],
    "more padding than PADMÉ gives": formats.write_batch([ONE]) + bytes(256),
    "more than an envelope holds": bytes(ENVELOPE_BYTES_MAX + 1),
}


def test_the_batch_that_the_refusals_alter_is_itself_read() -> None:
    assert decode_batch(body(b"\x01\x01", HEAD, b"\x01", TYPE, b"\x01", record())).records[0].name == "a"


@pytest.mark.parametrize("plain", REFUSED.values(), ids=REFUSED)
def test_a_batch_with_a_wrong_field_is_refused(plain: bytes) -> None:
    with pytest.raises(Malformed):
        decode_batch(plain)


def test_split_runs_keep_every_record_in_order_and_fit_an_envelope_each() -> None:
    rng = random.Random(5)
    for _ in range(60):
        sizes = rng.choices((0, 10, 1000, EVENT_PAYLOAD_BYTES_MAX - 8), (8, 4, 2, 1), k=rng.choice((1, 40, 2500)))
        records = [
            Record(Hlc(hlc), 0, rng.choice("abc") * NAME_BYTES_MAX, 1, pack({"": bytes(size)}))
            for hlc, size in enumerate(sizes, 1)
        ]
        runs = list(split_records(records))
        assert [record for run in runs for record in run] == records
        for run in runs:
            size = sum(len(record.payload) + RECORD_OVERHEAD_BYTES for record in run)
            assert 1 <= len(run) <= ENVELOPE_EVENTS_MAX
            assert size <= BATCH_BYTES_GOAL
            assert padded_size(size + 4096 * 74) + OVERHEAD_BYTES <= ENVELOPE_BYTES_MAX


@pytest.mark.parametrize("values", [[[0] * 100] * 45, [{"a": [0] * 99}] * 45, [[[[[[]]]]]] * 900])
def test_what_nests_more_than_an_envelope_may_is_sealed_in_several_and_refused_in_one(values: list[object]) -> None:
    records = tuple(Record(Hlc(hlc), 0, "a", 1, pack({"k": values})) for hlc in range(1, 8))
    [first, second, third] = split_records(records)

    assert first + second + third == records
    for run in (first, second, third):
        assert decode_batch(encode_batch(Batch(run, ()))).records == run
    with pytest.raises(Malformed, match="the payloads nest more than 15000 values in all"):
        decode_batch(encode_batch(Batch(first + second, ())))


def test_an_empty_list_splits_into_nothing() -> None:
    assert list(split_records([])) == []


def test_to_give_one_run_no_more_is_looked_at_than_the_record_after_it() -> None:
    records = iter([Record(Hlc(hlc), 0, "a", 1, pack({"k": [0] * 9_000})) for hlc in range(1, 5)])

    first = next(split_records(records))

    assert [record.hlc for record in first] == [1]
    assert [record.hlc for record in records] == [3, 4]


def test_stamps_that_do_not_increase_are_our_own_mistake() -> None:
    batch = decode_batch(formats.write_batch([ONE]))
    with pytest.raises(AssertionError):
        encode_batch(replace(batch, records=batch.records * 2))
