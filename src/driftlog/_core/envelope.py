"""The envelope's clear header: what a relay sees of a batch of events, and all that it sees.

An envelope is a numbered link of its device's chain: it names the hash of the one before it. The header says neither
when, nor how many events, nor of what kind. Layout in `docs/format.md`; sealing and opening are `_crypto`'s.
"""

import struct
from dataclasses import dataclass

from driftlog._core.ids import (
    NO_ENVELOPE,
    BatchSeq,
    DeviceKey,
    EnvelopeHash,
    EpochId,
    SpaceId,
    digest,
    short,
)
from driftlog._core.limits import ENVELOPE_BYTES_MAX
from driftlog._core.wire import Malformed

VERSION = 1
SUITE = 1
"""XChaCha20-Poly1305, BLAKE2b-256, Ed25519."""

_HEADER = struct.Struct(">BB32s8s32sQ32s24sI")
HEADER_BYTES = _HEADER.size
PLACE = struct.Struct(">2x32s8x32sQ")
"""Space, device and number alone, of an envelope whose hash says that the rest is as it was."""
PREVIOUS_AT = struct.calcsize(">BB32s8s32sQ")
"""Where the predecessor's hash begins."""
TAG_BYTES = 16
SIGNATURE_BYTES = 64
OVERHEAD_BYTES = HEADER_BYTES + TAG_BYTES + SIGNATURE_BYTES
BATCH_SEQ_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Header:
    """What an author decides about an envelope before sealing it. Its bytes are authenticated with the sealed part."""

    space: SpaceId
    epoch: EpochId
    device: DeviceKey
    batch_seq: BatchSeq
    previous: EnvelopeHash
    nonce: bytes

    def pack(self, sealed_bytes: int) -> bytes:
        """Give the header's bytes, for a sealed part of the given size."""
        return _HEADER.pack(
            VERSION,
            SUITE,
            self.space,
            self.epoch,
            self.device,
            self.batch_seq,
            self.previous,
            self.nonce,
            sealed_bytes,
        )


@dataclass(frozen=True, slots=True)
class Envelope:
    """A sealed batch: its header, its parts as received, and its hash. Neither signature nor content is checked yet."""

    header: Header
    raw: bytes
    hash: EnvelopeHash

    @property
    def clear(self) -> bytes:
        """The header's bytes as received."""
        return self.raw[:HEADER_BYTES]

    @property
    def sealed(self) -> bytes:
        """The ciphertext with its tag."""
        return self.raw[HEADER_BYTES:-SIGNATURE_BYTES]

    @property
    def signature(self) -> bytes:
        """The device's Ed25519 signature of the hash."""
        return self.raw[-SIGNATURE_BYTES:]

    def __str__(self) -> str:
        return f"envelope {self.header.batch_seq} of device {short(self.header.device)}"


def envelope_hash(unsigned: bytes) -> EnvelopeHash:
    """Hash an envelope's header and sealed part: what its device signs and its next envelope names."""
    return EnvelopeHash(digest(b"driftlog envlp 1", unsigned))


def parse_envelope(raw: bytes) -> Envelope:
    """Read an envelope's header, or raise `Malformed`. Sizes are checked before anything else; costs about 3 µs."""
    if len(raw) > ENVELOPE_BYTES_MAX:
        raise Malformed(f"an envelope of {len(raw)} bytes (limit {ENVELOPE_BYTES_MAX})")
    if raw and raw[0] != VERSION:
        raise Malformed(f"envelope version {raw[0]}, this Driftlog reads {VERSION}; update it")
    if len(raw) < OVERHEAD_BYTES:
        raise Malformed(f"an envelope of {len(raw)} bytes is cut short (least {OVERHEAD_BYTES})")
    _, suite, space, epoch, device, seq, previous, nonce, sealed_bytes = _HEADER.unpack_from(raw)
    if suite != SUITE:
        raise Malformed(f"envelope suite {suite}, this Driftlog reads {SUITE}; update it")
    if sealed_bytes + HEADER_BYTES + SIGNATURE_BYTES != len(raw):
        raise Malformed(f"an envelope of {len(raw)} bytes states a sealed part of {sealed_bytes}")
    if not 1 <= seq <= BATCH_SEQ_MAX:
        raise Malformed(f"envelope number {seq} (1 to {BATCH_SEQ_MAX})")
    if (seq == 1) != (previous == NO_ENVELOPE):
        raise Malformed(f"envelope number {seq} names {'a' if seq == 1 else 'no'} predecessor")
    header = Header(SpaceId(space), EpochId(epoch), DeviceKey(device), BatchSeq(seq), EnvelopeHash(previous), nonce)
    return Envelope(header, raw, envelope_hash(raw[:-SIGNATURE_BYTES]))
