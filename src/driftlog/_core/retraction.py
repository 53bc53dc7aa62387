"""Undo and redo as events: which events the fold skips.

An undo or redo names events, and the last of them in the total order that names an event decides about it. It counts only
for events before it, so what an event says can never depend on an event that it undoes. Both are events like any other, so
they travel, arrive late and are overtaken as others are; they can be undone by naming what they name again.
"""

from collections.abc import Iterable
from typing import Final

import msgspec

from driftlog._core.clock import Hlc, Timestamp
from driftlog._core.event import RESERVED_PREFIX, Record
from driftlog._core.ids import HASH_BYTES, KEY_BYTES, DeviceKey, EventHash

UNDONE: Final = f"{RESERVED_PREFIX}undone"
REDONE: Final = f"{RESERVED_PREFIX}redone"
CONTROL_VERSION: Final = 1

NAMED_EVENTS_MAX: Final = 1_000
"""As many as an envelope holds: one act of a user seldom makes more."""

_HLC_BYTES: Final = 8
PLACE_BYTES: Final = _HLC_BYTES + KEY_BYTES + HASH_BYTES


class _Named(msgspec.Struct, forbid_unknown_fields=True):
    events: list[bytes]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Named).decode


def is_control(record: Record) -> bool:
    """Tell whether an event is the engine's own and not the app's."""
    return record.name.startswith(RESERVED_PREFIX)


def encode_place(at: Timestamp) -> bytes:
    """Write an event's place."""
    return at.hlc.to_bytes(_HLC_BYTES, "big") + at.device + at.event_hash


def decode_place(place: bytes) -> Timestamp:
    """Read an event's place, which has the right size."""
    return Timestamp(
        Hlc(int.from_bytes(place[:_HLC_BYTES], "big")),
        DeviceKey(place[_HLC_BYTES : _HLC_BYTES + KEY_BYTES]),
        EventHash(place[-HASH_BYTES:]),
    )


def encode_named(events: Iterable[Timestamp]) -> bytes:
    """Give the payload that names these events."""
    places = [encode_place(at) for at in events]
    assert 0 < len(places) <= NAMED_EVENTS_MAX
    return _encode(_Named(places))


def is_retracting(record: Record) -> bool:
    """Tell whether an event is an undo or a redo, well-formed or not, of a version that this Driftlog knows."""
    return record.name in (UNDONE, REDONE) and record.marked_version == CONTROL_VERSION


def named_by(record: Record) -> list[Timestamp] | None:
    """Give the events that an undo or redo names; None if this is no undo or redo that can be read."""
    if not is_retracting(record):
        return None
    try:
        places = _decode(record.payload).events
    except (msgspec.DecodeError, ValueError):
        return None
    if not 0 < len(places) <= NAMED_EVENTS_MAX or any(len(place) != PLACE_BYTES for place in places):
        return None
    return [decode_place(place) for place in places]


def retracted_by(controls: Iterable[tuple[Timestamp, Record]]) -> frozenset[Timestamp]:
    """Give the events that all undos and redos together leave undone."""
    retracted: set[Timestamp] = set()
    for at, record in sorted(controls):
        for event in named_by(record) or ():
            if event < at:
                (retracted.add if record.name == UNDONE else retracted.discard)(event)
    return frozenset(retracted)
