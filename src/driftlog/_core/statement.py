"""A device's statement about its view: the digest, of which events, as which version of the app makes it of them.

It is an event like any other, so it is signed with the envelope it lies in, and reaches whoever holds what it is about. It
changes no view. Whoever holds exactly those events, with the same version of the app, must have come to the same digest.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from driftlog._core.clock import Timestamp
from driftlog._core.event import RESERVED_PREFIX, Record
from driftlog._core.ids import HASH_BYTES, DeviceKey, digest
from driftlog._core.retraction import encode_place
from driftlog._core.seen import SEEN, is_seen
from driftlog._core.version_vector import Head, VersionVector

DIGEST: Final = f"{RESERVED_PREFIX}digest"
DIGEST_VERSION: Final = 1

PROGRAM_BYTES: Final = 16

FOLD: Final = 1
"""The meaning of the log. To be raised with whatever lets the same events and the same app come to another view, such as a
control event that an older Driftlog does not know: devices of different numbers then do not compare."""

NEUTRAL_NAMES: Final = (SEEN, DIGEST)
"""What changes no view, and asks for no answer."""


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a device says of its view."""

    program: bytes
    """The fingerprint of the version of the app, 16 bytes."""
    events: bytes
    """What the view is made of, 32 bytes: see `digest_of_events`."""
    view: bytes
    """The digest of the view, 32 bytes."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Statement).decode


def encode_statement(statement: Statement) -> bytes:
    """Give the payload."""
    assert _is_sized(statement)
    return _encode(statement)


def is_statement(record: Record) -> bool:
    """Tell whether an event is a statement, well-formed or not, of the version that this Driftlog knows."""
    return record.name == DIGEST and record.marked_version == DIGEST_VERSION


def stated_by(record: Record) -> Statement | None:
    """Give what an event states; None if this is no statement that can be read."""
    if not is_statement(record):
        return None
    try:
        statement = _decode(record.payload)
    except (msgspec.DecodeError, ValueError):
        return None
    return statement if _is_sized(statement) else None


def _is_sized(statement: Statement) -> bool:
    sizes = (len(statement.program), len(statement.events), len(statement.view))
    return sizes == (PROGRAM_BYTES, HASH_BYTES, HASH_BYTES)


def is_neutral(record: Record) -> bool:
    """Tell whether an event changes no view, whatever it says."""
    return is_seen(record) or is_statement(record)


def digest_of_events(heads: Iterable[tuple[DeviceKey, Head]], held: Iterable[Timestamp]) -> bytes:
    """Hash what a view is made of: 32 bytes.

    `heads` are the last envelopes of all branches that hold anything but neutral events: what follows them changes nothing.
    `held` are the events that have not taken their place yet, which depends on the device's clock.
    """
    vector = VersionVector.of(list(set(heads)))
    return digest(b"driftlog events", bytes([FOLD]), vector.encode(), *map(encode_place, sorted(held)))
