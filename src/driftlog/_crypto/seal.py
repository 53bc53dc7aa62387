"""Sealing and opening: XChaCha20-Poly1305 over a batch, its clear header authenticated with it, Ed25519 over the hash.

The nonce is hedged: a hash of fresh randomness, the key, the header and the content, so that a device whose randomness
fails or repeats still never uses one nonce for two contents.
"""

from hashlib import blake2b

from nacl import bindings
from nacl.exceptions import CryptoError

from driftlog._core.batch import Batch, decode_batch, encode_batch
from driftlog._core.envelope import (
    HEADER_BYTES,
    SIGNATURE_BYTES,
    TAG_BYTES,
    Envelope,
    Header,
    envelope_hash,
    parse_envelope,
)
from driftlog._core.ids import BatchSeq, EnvelopeHash
from driftlog._core.limits import ENVELOPE_BYTES_MAX
from driftlog._core.wire import Malformed
from driftlog._crypto.keys import Entropy, SpaceKeys
from driftlog._crypto.verify import is_authentic
from driftlog.errors import InvalidEnvelope

NONCE_BYTES = 24


def seal(batch: Batch, keys: SpaceKeys, batch_seq: BatchSeq, previous: EnvelopeHash, entropy: Entropy) -> Envelope:
    """Seal a batch as the device's envelope number `batch_seq`. Costs about 30 µs and 1 µs a KiB."""
    plain = encode_batch(batch)
    nonce = _hedged_nonce(keys, batch_seq, previous, plain, entropy)
    header = Header(keys.space, keys.epoch, keys.device_key, batch_seq, previous, nonce)
    clear = header.pack(len(plain) + TAG_BYTES)
    sealed: bytes = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, clear, nonce, keys.epoch_key)
    unsigned = clear + sealed
    hashed = envelope_hash(unsigned)
    raw = unsigned + keys.device.sign(hashed)
    assert len(raw) == HEADER_BYTES + len(sealed) + SIGNATURE_BYTES <= ENVELOPE_BYTES_MAX
    return Envelope(header, raw, hashed)


def receive(raw: bytes, keys: SpaceKeys) -> Envelope:
    """Read received bytes and check space, epoch and signature, or raise `InvalidEnvelope`. Costs about 60 µs."""
    try:
        envelope = parse_envelope(raw)
    except Malformed as error:
        raise InvalidEnvelope(str(error)) from error
    if envelope.header.space != keys.space:
        raise InvalidEnvelope(f"{envelope} belongs to another space")
    if envelope.header.epoch != keys.epoch:
        raise InvalidEnvelope(f"{envelope} is of an epoch whose key this device does not hold")
    if not is_authentic(envelope):
        raise InvalidEnvelope(f"{envelope} does not bear that device's signature")
    return envelope


def unseal(envelope: Envelope, keys: SpaceKeys) -> Batch:
    """Open an envelope that `receive` let through, or raise `InvalidEnvelope`."""
    try:
        plain: bytes = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            envelope.sealed, envelope.clear, envelope.header.nonce, keys.epoch_key
        )
    except CryptoError as error:
        raise InvalidEnvelope(f"{envelope} was not sealed with this space's key") from error
    try:
        return decode_batch(plain)
    except Malformed as error:
        raise InvalidEnvelope(f"{envelope}: {error}") from error


def _hedged_nonce(
    keys: SpaceKeys, batch_seq: BatchSeq, previous: EnvelopeHash, plain: bytes, entropy: Entropy
) -> bytes:
    hasher = blake2b(key=keys.epoch_key, digest_size=NONCE_BYTES, person=b"driftlog nonce 1")
    hasher.update(entropy(NONCE_BYTES))
    hasher.update(keys.device.public + batch_seq.to_bytes(8, "big") + previous)
    hasher.update(plain)
    return hasher.digest()
