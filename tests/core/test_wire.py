"""Varints have one form each, and a reader never takes what is not there."""

import random

import pytest

from driftlog._core.wire import UINT_MAX, Malformed, Reader, unzigzag, write_sized, write_uint, zigzag
from tests.vectors.formats import read_uint, uint

EDGES = sorted({max(0, min(UINT_MAX, 2**bits + step)) for bits in range(65) for step in (-1, 0, 1)})


def spread(count: int) -> list[int]:
    """Draw integers of every magnitude alike."""
    rng = random.Random(1)
    return EDGES + [rng.getrandbits(rng.randint(1, 64)) for _ in range(count)]


def written(value: int) -> bytes:
    out = bytearray()
    write_uint(out, value)
    return bytes(out)


def test_every_integer_is_read_as_it_was_written_and_as_a_second_writer_writes_it() -> None:
    for value in spread(4000):
        data = written(value)
        reader = Reader(data)
        assert (reader.uint("n"), reader.left()) == (value, 0)
        assert data == uint(value)
        assert read_uint(data, 0) == (value, len(data))


def test_every_cut_varint_is_refused() -> None:
    for value in spread(500):
        data = written(value)
        for end in range(len(data)):
            with pytest.raises(Malformed, match="n is cut short"):
                Reader(data[:end]).uint("n")


def test_every_longer_form_of_an_integer_is_refused() -> None:
    for value in spread(1000):
        data = written(value)
        for extra in range(1, 12 - len(data)):
            longer = data[:-1] + bytes([data[-1] | 0x80]) + b"\x80" * (extra - 1) + b"\0"
            with pytest.raises(Malformed):
                Reader(longer).uint("n")


def test_any_bytes_are_refused_or_are_the_one_form_of_what_they_say() -> None:
    rng = random.Random(2)
    for _ in range(4000):
        data = bytes(rng.choice((0, 1, 0x7F, 0x80, 0x81, 0xFF, rng.randrange(256))) for _ in range(rng.randint(1, 12)))
        reader = Reader(data)
        try:
            value = reader.uint("n")
        except Malformed:
            continue
        assert value <= UINT_MAX
        assert written(value) == data[: len(data) - reader.left()]


def test_an_integer_past_64_bits_is_refused() -> None:
    for value in (2**64, 2**70 - 1, 2**77 - 1):
        with pytest.raises(Malformed):
            Reader(uint(value)).uint("n")


def test_an_integer_past_its_limit_is_refused_and_names_the_limit() -> None:
    for value in spread(500):
        assert Reader(written(value)).uint("n", value) == value
        if value:
            with pytest.raises(Malformed, match=rf"n is {value} \(limit {value - 1}\)"):
                Reader(written(value)).uint("n", value - 1)


def test_signed_integers_fold_one_to_one() -> None:
    for value in spread(2000):
        assert zigzag(unzigzag(value)) == value
        for signed in (value >> 1, -(value >> 1)):
            assert unzigzag(zigzag(signed)) == signed
            assert 0 <= zigzag(signed) <= UINT_MAX


def test_a_sized_run_is_read_back_and_no_byte_may_lack() -> None:
    rng = random.Random(3)
    for _ in range(300):
        run = rng.randbytes(rng.choice((0, 1, 127, 128, 300)))
        out = bytearray()
        write_sized(out, run)
        reader = Reader(bytes(out))
        assert reader.sized("run", len(run)) == run
        reader.end()
        with pytest.raises(Malformed):
            Reader(bytes(out[:-1])).sized("run", 300)
        if run:
            with pytest.raises(Malformed, match="limit"):
                Reader(bytes(out)).sized("run", len(run) - 1)


def test_a_length_past_the_end_is_refused_before_anything_is_taken() -> None:
    with pytest.raises(Malformed, match="0 of 4294967296 bytes"):
        Reader(uint(2**32)).sized("run", UINT_MAX)


def test_bytes_after_the_end_are_refused() -> None:
    reader = Reader(b"\1\2")
    reader.take(1, "byte")
    with pytest.raises(Malformed, match="1 bytes after the end"):
        reader.end()
