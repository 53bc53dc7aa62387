"""The identifiers of the system, each with a type of its own, and the hash they are made with.

Leaves out how keys are made and used (`_crypto`).
"""

from hashlib import blake2b
from typing import Final, NewType

DeviceKey = NewType("DeviceKey", bytes)
"""A device's Ed25519 public key for one space: 32 bytes. It is the device's identity in the log."""

SpaceId = NewType("SpaceId", bytes)
"""BLAKE2b-256 of the space's genesis: 32 bytes."""

EpochId = NewType("EpochId", bytes)
"""The first 8 bytes of the commitment to an epoch's key."""

EnvelopeHash = NewType("EnvelopeHash", bytes)
"""BLAKE2b-256 of an envelope without its signature: 32 bytes. The next envelope of the device names it."""

EventHash = NewType("EventHash", bytes)
"""BLAKE2b-256 of an event and its place: 32 bytes. The last word on order between equal stamps."""

Birthday = NewType("Birthday", bytes)
"""16 random bytes a relay drew when its database was made: another birthday, another relay."""

Position = NewType("Position", int)
"""A relay's number for an envelope within its space, from 1; a cursor is the last position read, 0 for none."""

BatchSeq = NewType("BatchSeq", int)
"""A device's own number for its envelopes, from 1, without gaps."""

KEY_BYTES: Final = 32
HASH_BYTES: Final = 32
EPOCH_ID_BYTES: Final = 8
BIRTHDAY_BYTES: Final = 16

NO_ENVELOPE: Final = EnvelopeHash(bytes(HASH_BYTES))
"""What a device's first envelope names as its predecessor."""


def digest(purpose: bytes, *parts: bytes) -> bytes:
    """Hash `parts` with BLAKE2b-256 under a purpose of at most 16 bytes, so that no two uses can collide.

    Parts are joined without separators: give every variable-length part a length before it.
    """
    return blake2b(b"".join(parts), digest_size=HASH_BYTES, person=purpose).digest()


def short(identifier: bytes) -> str:
    """Show the first 4 bytes of an identifier in hex, as people see it in errors, logs and status."""
    return identifier[:4].hex()
