"""Frames: what is encoded is decoded again, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog._core.genesis import Genesis
from driftlog._core.ids import BatchSeq, Birthday, DeviceKey, EnvelopeHash, Position
from driftlog._core.limits import ENVELOPE_BYTES_MAX
from driftlog._core.version_vector import Head, VersionVector
from driftlog._core.wire import Malformed, write_sized, write_uint
from driftlog._protocol.limits import FRAME_BYTES_MAX, FRAME_ENVELOPES_MAX, HEADS_PER_FRAME_MAX, TEXT_BYTES_MAX
from driftlog._protocol.messages import (
    NO_BIRTHDAY,
    Challenge,
    Envelopes,
    Farewell,
    FromDevice,
    FromRelay,
    Goodbye,
    Hello,
    Ping,
    Pong,
    Read,
    Refusal,
    Refused,
    Stored,
    Upload,
    Want,
    Welcome,
    decode_from_device,
    decode_from_relay,
    hello_message,
    runs_that_fit,
)

uints = st.integers(0, (1 << 63) - 1)
positions = uints.map(Position)
bytes_16 = st.binary(min_size=16, max_size=16)
bytes_32 = st.binary(min_size=32, max_size=32)
birthdays = bytes_16.filter(any).map(Birthday)
devices = bytes_32.map(DeviceKey)
heads = st.builds(Head, st.integers(1, (1 << 63) - 1).map(BatchSeq), bytes_32.map(EnvelopeHash))
vectors = st.dictionaries(devices, st.lists(heads, min_size=1, max_size=2, unique=True).map(tuple), max_size=4).map(
    VersionVector
)
geneses = st.builds(Genesis, bytes_32, bytes_32, bytes_32, bytes_16)
envelopes = st.lists(st.binary(max_size=20), max_size=5).map(tuple)
texts = st.text(max_size=100)

from_relay: st.SearchStrategy[FromRelay] = st.one_of(
    st.builds(Challenge, st.integers(0, 255), bytes_32),
    st.builds(Welcome, birthdays, positions, st.none() | vectors),
    st.builds(Envelopes, uints, positions, st.booleans(), envelopes),
    st.builds(Stored, st.integers(1, FRAME_ENVELOPES_MAX)),
    st.builds(Refused, st.sampled_from(Refusal), texts),
    st.builds(Goodbye, st.sampled_from(Farewell), texts),
    st.just(Ping()),
    st.just(Pong()),
)
from_device: st.SearchStrategy[FromDevice] = st.one_of(
    st.builds(
        Hello,
        st.integers(0, 255),
        geneses,
        st.binary(min_size=64, max_size=64),
        bytes_16.map(Birthday),
        positions,
        bytes_16,
    ),
    st.builds(Want, vectors),
    st.builds(Read, positions),
    st.builds(Upload, envelopes.filter(bool)),
    st.just(Ping()),
    st.just(Pong()),
)


@given(from_relay)
def test_every_frame_of_a_relay_is_read_as_it_was_written(frame: FromRelay) -> None:
    assert decode_from_relay(frame.encode()) == frame


@given(from_device)
def test_every_frame_of_a_device_is_read_as_it_was_written(frame: FromDevice) -> None:
    assert decode_from_device(frame.encode()) == frame


@given(from_relay | from_device, st.data())
def test_a_frame_that_is_cut_short_or_goes_on_is_refused(frame: FromRelay | FromDevice, data: st.DataObject) -> None:
    decode = decode_from_relay if frame.TYPE in (1, 3, 5, 8, 9, 10, 11, 12) else decode_from_device
    encoded = frame.encode()
    cut = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
    with pytest.raises(Malformed):
        decode(cut)
    with pytest.raises(Malformed):
        decode(encoded + b"\0")


@given(st.binary(max_size=200))
def test_whatever_is_read_would_be_written_the_same(garbage: bytes) -> None:
    for decode in (decode_from_relay, decode_from_device):
        try:
            frame = decode(garbage)
        except Malformed:
            continue
        assert frame.encode() == garbage


@given(from_relay | from_device, st.data())
def test_a_changed_bit_is_refused_or_means_what_it_says(frame: FromRelay | FromDevice, data: st.DataObject) -> None:
    encoded = bytearray(frame.encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    for decode in (decode_from_relay, decode_from_device):
        try:
            again = decode(bytes(encoded))
        except Malformed:
            continue
        assert again.encode() == encoded


@pytest.mark.parametrize("frame", [Challenge(1, bytes(32)), Stored(1), Welcome(Birthday(b"b" * 16), Position(1), None)])
def test_a_relays_frame_from_a_device_is_refused(frame: FromRelay) -> None:
    with pytest.raises(Malformed, match="not one that a device sends"):
        decode_from_device(frame.encode())


@pytest.mark.parametrize("frame", [Read(Position(1)), Want(VersionVector()), Upload((b"x",))])
def test_a_devices_frame_from_a_relay_is_refused(frame: FromDevice) -> None:
    with pytest.raises(Malformed, match="not one that a relay sends"):
        decode_from_relay(frame.encode())


def test_a_count_past_its_limit_is_refused_before_anything_is_built() -> None:
    out = bytearray([Upload.TYPE])
    write_uint(out, 1 << 40)
    with pytest.raises(Malformed, match="limit 4096"):
        decode_from_device(bytes(out))


def test_a_frame_past_its_limit_is_refused() -> None:
    with pytest.raises(Malformed, match="a frame of"):
        decode_from_device(bytes(FRAME_BYTES_MAX + 1))


def test_the_largest_envelope_and_the_largest_vector_fit_a_frame() -> None:
    chains = {
        DeviceKey(n.to_bytes(32, "big")): (Head(BatchSeq((1 << 63) - 1), EnvelopeHash(bytes(32))),)
        for n in range(15_000)
    }
    assert (
        len(Envelopes((1 << 64) - 1, Position((1 << 63) - 1), True, (bytes(ENVELOPE_BYTES_MAX),)).encode())
        <= FRAME_BYTES_MAX
    )
    want = decode_from_device(Want(VersionVector(chains)).encode())
    assert isinstance(want, Want)
    assert len(want.heads) == HEADS_PER_FRAME_MAX
    most = VersionVector(dict(list(chains.items())[:HEADS_PER_FRAME_MAX]))
    assert len(Welcome(Birthday(b"b" * 16), Position((1 << 63) - 1), most).encode()) <= FRAME_BYTES_MAX


def test_more_heads_than_either_end_sends_are_refused_however_short_they_are() -> None:
    chains = {
        DeviceKey(n.to_bytes(32, "big")): (Head(BatchSeq(1), EnvelopeHash(bytes(32))),)
        for n in range(HEADS_PER_FRAME_MAX + 1)
    }
    out = bytearray([Want.TYPE])
    write_sized(out, VersionVector(chains).encode())
    with pytest.raises(Malformed, match="more than 14000 heads"):
        decode_from_device(bytes(out))


def test_a_long_explanation_is_cut_between_characters() -> None:
    frame = decode_from_relay(Goodbye(Farewell.MALFORMED, "€" * 400).encode())
    assert frame == Goodbye(Farewell.MALFORMED, "€" * (TEXT_BYTES_MAX // 3))


def test_an_unborn_relay_is_refused() -> None:
    with pytest.raises(Malformed, match="without a birthday"):
        decode_from_relay(Welcome(NO_BIRTHDAY, Position(0), None).encode())


@given(st.lists(st.integers(1, ENVELOPE_BYTES_MAX // 3), max_size=20))
def test_envelopes_are_cut_into_frames_that_fit_in_order(sizes: list[int]) -> None:
    raws = [bytes(size) for size in sizes]
    runs = list(runs_that_fit(raws))
    assert [raw for run in runs for raw in run] == raws
    assert all(len(Upload(run).encode()) <= FRAME_BYTES_MAX for run in runs)


def test_a_proof_of_membership_is_for_one_connection_and_one_space() -> None:
    space, other = geneses_of(1).space, geneses_of(2).space
    messages = {hello_message(bytes(32), space), hello_message(b"n" * 32, space), hello_message(bytes(32), other)}
    assert len(messages) == 3


def geneses_of(number: int) -> Genesis:
    return Genesis(bytes(32), bytes(32), bytes(32), bytes([number]) * 16)
