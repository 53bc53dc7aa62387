"""A version vector has one form, names every branch of a fork, and costs no more to read than its size."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog._core.ids import BatchSeq, DeviceKey, EnvelopeHash
from driftlog._core.version_vector import HEADS_MAX, Head, VersionVector
from driftlog._core.wire import Malformed
from tests.core.drawing import cases, flat_heads
from tests.vectors import formats

Flat = list[tuple[DeviceKey, Head]]


def written(flat: Flat) -> bytes:
    return formats.write_vector((device, *head) for device, head in flat)


@pytest.mark.slow
@cases(1500)
@given(flat_heads)
def test_a_vector_is_read_as_it_was_written_and_as_a_second_writer_writes_it(flat: Flat) -> None:
    vector = VersionVector.of(flat)
    data = vector.encode()
    assert data == written(flat)
    assert VersionVector.decode(data) == vector
    assert vector.flat() == flat


@cases(500)
@given(flat_heads, st.randoms(use_true_random=False))
def test_the_order_in_which_heads_are_learnt_does_not_matter(flat: Flat, rng: object) -> None:
    shuffled = flat.copy()
    rng.shuffle(shuffled)  # type: ignore[attr-defined]  # Hypothesis calls its Random an object
    one, other = VersionVector.of(flat), VersionVector.of(shuffled)
    assert one == other
    assert (hash(one), one.encode(), one.digest()) == (hash(other), other.encode(), other.digest())


@cases(500)
@given(flat_heads, flat_heads)
def test_digests_are_equal_exactly_when_vectors_are(one: Flat, other: Flat) -> None:
    first, second = VersionVector.of(one), VersionVector.of(other)
    assert (first == second) == (first.digest() == second.digest()) == (first.encode() == second.encode())
    assert len(first.digest()) == 16


@cases(500)
@given(flat_heads)
def test_every_head_of_a_fork_is_kept_and_the_number_is_the_longest_branchs(flat: Flat) -> None:
    vector = VersionVector.of(flat)
    assert sum(len(heads) for heads in vector.values()) == len(flat)
    for device in {device for device, _ in flat}:
        assert vector.seq(device) == max(head.batch_seq for owner, head in flat if owner == device)
    assert vector.seq(DeviceKey(b"?" * 32)) == 0


@pytest.mark.slow
@cases(1000)
@given(flat_heads, st.data())
def test_altered_or_cut_bytes_are_refused_or_the_one_form_of_another_vector(flat: Flat, data: st.DataObject) -> None:
    encoded = VersionVector.of(flat).encode()
    at = data.draw(st.integers(0, len(encoded) - 1))
    bit = data.draw(st.integers(0, 7))
    with pytest.raises(Malformed):
        VersionVector.decode(encoded[:at])
    with pytest.raises(Malformed):
        VersionVector.decode(encoded + bytes(at + 1))
    other = formats.altered(encoded, at, lambda byte: byte ^ 1 << bit)
    try:
        vector = VersionVector.decode(other)
    except Malformed:
        return
    assert vector.encode() == other


A, B = bytes(32), b"\1" * 32
REFUSED = {
    "no bytes": b"",
    "version 0": b"\0\0",
    "version 2": b"\2\0",
    "no count": b"\1",
    "a head too few": b"\1\2" + A + b"\1" + A,
    "a head too many": b"\1\0" + A + b"\1" + A,
    "a count in a longer form": b"\1\x80\0",
    "more heads than allowed": b"\1" + formats.uint(HEADS_MAX + 1) + bytes(65 * (HEADS_MAX + 1)),
    "4 G heads and no more": b"\1" + formats.uint(2**32),
    "number 0": formats.write_vector([(A, 0, A)]),
    "a number past 63 bits": formats.write_vector([(A, 2**63, A)]),
    "devices out of order": formats.write_vector([(B, 1, A), (A, 1, A)]),
    "numbers out of order": formats.write_vector([(A, 2, A), (A, 1, A)]),
    "hashes out of order": formats.write_vector([(A, 1, B), (A, 1, A)]),
    "a head twice": formats.write_vector([(A, 1, A), (A, 1, A)]),
}


def test_more_heads_than_a_caller_takes_are_refused_before_any_is_read() -> None:
    two = formats.write_vector([(A, 1, A), (B, 1, A)])

    assert VersionVector.decode(two, 2).encode() == two
    with pytest.raises(Malformed, match="more than 1 heads"):
        VersionVector.decode(two[:2], 1)


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_a_vector_with_a_wrong_field_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        VersionVector.decode(data)


def heads_of_one_device(count: int) -> bytes:
    return formats.write_vector((A, number, A) for number in range(1, count + 1))


def cost(data: bytes) -> float:
    def once() -> float:
        start = time.process_time()
        VersionVector.decode(data)
        return time.process_time() - start

    return min(once() for _ in range(3))


@pytest.mark.slow
def test_a_thousand_branches_of_one_device_cost_no_more_than_a_thousand_devices() -> None:
    # A hostile peer chooses the shape; the same number of heads must not cost more for being one device's. The bound is
    # a ratio of two costs measured alike, generous by a factor, so that a slow or busy machine cannot fail it.
    count = 32_000
    many = formats.write_vector((number.to_bytes(32, "big"), 1, A) for number in range(1, count + 1))
    assert cost(heads_of_one_device(count)) < 5 * cost(many)


def test_an_empty_vector_names_nobody() -> None:
    vector = VersionVector()
    assert VersionVector.decode(vector.encode()) == vector
    assert not vector.flat()


def test_a_repr_names_devices_and_numbers_only() -> None:
    vector = VersionVector({DeviceKey(B): (Head(BatchSeq(3), EnvelopeHash(A)),)})
    assert repr(vector) == "VersionVector(0101:3)"
