"""A sealed envelope opens to what was sealed, for members only, and not at all when a single bit of it differs."""

import itertools
import random

import pytest
from hypothesis import given

from driftlog._core.batch import Batch, decode_batch, encode_batch
from driftlog._core.clock import Hlc
from driftlog._core.envelope import HEADER_BYTES, SIGNATURE_BYTES
from driftlog._core.event import Record
from driftlog._core.ids import NO_ENVELOPE, BatchSeq, EnvelopeHash, SpaceId
from driftlog._crypto.keys import SpaceKeys, found_space
from driftlog._crypto.seal import receive, seal, unseal
from driftlog.errors import InvalidEnvelope
from tests.core.drawing import batches, cases, entry_of
from tests.vectors import formats
from tests.vectors.msgpack import pack


def entropy_of(seed: int) -> random.Random:
    return random.Random(seed)


def constant(count: int) -> bytes:
    return bytes(count)


GENESIS, EPOCH_KEY = found_space(bytes(32), entropy_of(1).randbytes)
KEYS = SpaceKeys.of(b"a" * 32, GENESIS, EPOCH_KEY)
OTHER_MEMBER = SpaceKeys.of(b"b" * 32, GENESIS, EPOCH_KEY)
BATCH = Batch((Record(Hlc(7 << 16), 7, "said", 1, pack({"text": "a fact"})),))
SECOND, PREVIOUS = BatchSeq(2), EnvelopeHash(b"p" * 32)


def sealed(batch: Batch = BATCH, keys: SpaceKeys = KEYS) -> bytes:
    return seal(batch, keys, BatchSeq(1), NO_ENVELOPE, entropy_of(2).randbytes).raw


def opened(raw: bytes, keys: SpaceKeys = OTHER_MEMBER) -> Batch:
    return unseal(receive(raw, keys), keys)


@pytest.mark.slow
@cases(300)
@given(batches)
def test_every_member_opens_what_another_sealed_and_so_does_a_second_reader(batch: Batch) -> None:
    raw = sealed(batch)
    assert opened(raw) == batch
    second = formats.open_envelope(raw, EPOCH_KEY)
    assert second.entries == tuple(entry_of(record) for record in batch.records)
    assert (second.device, second.number, second.previous) == (KEYS.device_key, 1, bytes(32))


@pytest.mark.slow
def test_an_envelope_with_any_one_bit_altered_is_refused() -> None:
    raw = sealed()
    for at, bit in itertools.product(range(len(raw)), range(8)):
        with pytest.raises(InvalidEnvelope):
            opened(formats.altered(raw, at, lambda byte, bit=bit: byte ^ 1 << bit))  # type: ignore[misc]  # mypy cannot infer a lambda with a default


def test_an_envelope_with_any_byte_replaced_removed_or_added_is_refused() -> None:
    raw, rng = sealed(), entropy_of(3)
    for at in range(len(raw)):
        byte = bytes([rng.choice([value for value in range(256) if value != raw[at]])])
        for other in (raw[:at] + byte + raw[at + 1 :], raw[:at] + raw[at + 1 :], raw[:at] + byte + raw[at:], raw[:at]):
            with pytest.raises(InvalidEnvelope):
                opened(other)


def test_the_halves_of_two_envelopes_do_not_make_a_third() -> None:
    one, other = sealed(), seal(BATCH, KEYS, SECOND, PREVIOUS, entropy_of(4).randbytes).raw
    assert len(one) == len(other)
    cuts = (HEADER_BYTES, len(one) - SIGNATURE_BYTES)
    pieces = [(raw[: cuts[0]], raw[cuts[0] : cuts[1]], raw[cuts[1] :]) for raw in (one, other)]
    for choice in itertools.product((0, 1), repeat=3):
        if len(set(choice)) == 1:
            continue
        with pytest.raises(InvalidEnvelope):
            opened(b"".join(pieces[which][part] for part, which in enumerate(choice)))


def test_arbitrary_bytes_are_refused_as_an_invalid_envelope_and_nothing_else() -> None:
    rng = entropy_of(5)
    for _ in range(500):
        with pytest.raises(InvalidEnvelope):
            opened(b"\1" * rng.randint(0, 3) + rng.randbytes(rng.choice((0, 1, 200, 222, 500))))


def stranger(**changed: object) -> SpaceKeys:
    parts: dict[str, object] = {
        name: getattr(KEYS, name) for name in ("device", "access", "epoch_key", "epoch", "space")
    }
    return SpaceKeys(**{**parts, **changed})  # type: ignore[arg-type]  # the names above are the class's own


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (stranger(space=SpaceId(b"s" * 32)), "another space"),
        (stranger(epoch=b"epoch id"), "epoch whose key this device does not hold"),
        (stranger(epoch_key=b"k" * 32), "not sealed with this space's key"),
    ],
    ids=["another space", "another epoch", "another key under the same epoch id"],
)
def test_who_is_not_a_member_cannot_open_an_envelope(keys: SpaceKeys, why: str) -> None:
    with pytest.raises(InvalidEnvelope, match=why):
        opened(sealed(), keys)


def test_an_envelope_sealed_with_another_key_is_refused_though_its_signature_is_right() -> None:
    with pytest.raises(InvalidEnvelope, match="not sealed with this space's key"):
        opened(sealed(keys=stranger(epoch_key=b"k" * 32)))


def test_an_envelope_signed_by_another_member_is_refused() -> None:
    forged = stranger(device=type(KEYS.device)(KEYS.device.public, OTHER_MEMBER.device.secret))
    with pytest.raises(InvalidEnvelope, match="signature"):
        opened(sealed(keys=forged))


AUTHOR = formats.Author(KEYS.device.public, KEYS.device.secret, KEYS.space, EPOCH_KEY)


@pytest.mark.parametrize(
    "plain",
    [bytes(256), b"", bytes(10), b"\xff" * 256, encode_batch(BATCH)[:-1]],
    ids=["zeros", "none", "few", "ff", "cut"],
)
def test_a_members_envelope_with_a_batch_that_is_not_one_is_refused(plain: bytes) -> None:
    raw, _ = formats.write_envelope(AUTHOR, 1, bytes(32), plain)
    with pytest.raises(InvalidEnvelope):
        opened(raw)


def test_a_second_writers_envelope_is_let_in() -> None:
    raw, hashed = formats.write_envelope(AUTHOR, 1, bytes(32), encode_batch(BATCH))
    envelope = receive(raw, OTHER_MEMBER)
    assert envelope.hash == hashed
    assert unseal(envelope, OTHER_MEMBER) == BATCH == decode_batch(encode_batch(BATCH))


# --- the nonce -----------------------------------------------------------------------------------------------------------


def nonces(count: int = 60) -> list[bytes]:
    """Seal different contents, places and devices with the same "randomness" each time."""
    drawn = []
    for number in range(count):
        batch = Batch((BATCH.records[0]._replace(payload=pack({"n": number})),))
        drawn.append(seal(batch, KEYS, BatchSeq(1), NO_ENVELOPE, constant).header.nonce)
    drawn += [
        seal(BATCH, KEYS, SECOND, PREVIOUS, constant).header.nonce,
        seal(BATCH, KEYS, BatchSeq(3), PREVIOUS, constant).header.nonce,
        seal(BATCH, KEYS, SECOND, EnvelopeHash(b"q" * 32), constant).header.nonce,
        seal(BATCH, OTHER_MEMBER, SECOND, PREVIOUS, constant).header.nonce,
        seal(BATCH, stranger(epoch_key=b"k" * 32), SECOND, PREVIOUS, constant).header.nonce,
    ]
    return drawn


def test_with_randomness_that_repeats_no_nonce_serves_two_contents() -> None:
    drawn = nonces()
    assert len(set(drawn)) == len(drawn)
    assert all(len(nonce) == 24 for nonce in drawn)


def test_with_randomness_that_repeats_the_same_content_gives_the_same_envelope() -> None:
    assert nonces() == nonces()
    assert seal(BATCH, KEYS, SECOND, PREVIOUS, constant) == seal(BATCH, KEYS, SECOND, PREVIOUS, constant)


def test_with_real_randomness_the_same_content_gets_another_nonce_each_time() -> None:
    entropy = entropy_of(6).randbytes
    drawn = {seal(BATCH, KEYS, BatchSeq(1), NO_ENVELOPE, entropy).header.nonce for _ in range(60)}
    assert len(drawn) == 60
