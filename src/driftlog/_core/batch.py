"""The sealed part of an envelope, in the clear: events, and the chain heads their author had seen. Then padding.

Padding is PADMÉ (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", 2019)
with a floor: at most 12 % more bytes, and the length gives away only its magnitude. Layout in `docs/format.md`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from driftlog._core.clock import Hlc, hlc_ms
from driftlog._core.envelope import BATCH_SEQ_MAX
from driftlog._core.event import Record, version_of
from driftlog._core.ids import HASH_BYTES, KEY_BYTES, BatchSeq, DeviceKey, EnvelopeHash
from driftlog._core.limits import (
    CRITICAL_BIT,
    ENVELOPE_BYTES_MAX,
    ENVELOPE_EVENTS_MAX,
    ENVELOPE_HEADS_MAX,
    ENVELOPE_NESTED_VALUES_MAX,
    EVENT_PAYLOAD_BYTES_MAX,
    EVENT_VERSION_MAX,
    HLC_MAX,
    WALL_MS_MAX,
)
from driftlog._core.names import NAME_BYTES_MAX, is_name
from driftlog._core.values import OutsideDomain, Room, check_payload, nested_values
from driftlog._core.version_vector import Head
from driftlog._core.wire import Malformed, Reader, unzigzag, write_sized, write_uint, zigzag

BODY_VERSION = 1
PADDED_BYTES_MIN = 256
_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Batch:
    """What an envelope says: events with increasing stamps, and the heads its author learnt since its last envelope."""

    records: tuple[Record, ...]
    heads: tuple[tuple[DeviceKey, Head], ...] = ()


def padded_size(size: int) -> int:
    """Give the PADMÉ size for a content of `size` bytes, at least `PADDED_BYTES_MIN`."""
    if size <= PADDED_BYTES_MIN:
        return PADDED_BYTES_MIN
    exponent = size.bit_length() - 1
    kept_bits = exponent.bit_length()
    mask = (1 << (exponent - kept_bits)) - 1
    return (size + mask) & ~mask


def encode_batch(batch: Batch) -> bytes:
    """Give the padded plaintext of an envelope. The caller keeps to the limits; `split_records` helps."""
    assert 1 <= len(batch.records) <= ENVELOPE_EVENTS_MAX
    out = bytearray(_LENGTH_BYTES)
    out.append(BODY_VERSION)
    write_uint(out, len(batch.heads))
    for device, head in batch.heads:
        out += device
        write_uint(out, head.batch_seq)
        out += head.hash
    type_index: dict[tuple[str, int], int] = {}
    for record in batch.records:
        type_index.setdefault((record.name, record.marked_version), len(type_index))
    write_uint(out, len(type_index))
    for name, marked_version in type_index:
        write_sized(out, name.encode())
        write_uint(out, marked_version)
    write_uint(out, len(batch.records))
    last = 0
    for record in batch.records:
        assert record.hlc > last, "stamps of one device increase"
        write_uint(out, record.hlc - last)
        last = record.hlc
        write_uint(out, zigzag(record.wall_ms - hlc_ms(last)))
        write_uint(out, type_index[record.name, record.marked_version])
        write_sized(out, record.payload)
    out[:_LENGTH_BYTES] = (len(out) - _LENGTH_BYTES).to_bytes(_LENGTH_BYTES, "big")
    return bytes(out).ljust(padded_size(len(out)), b"\0")


def decode_batch(plain: bytes) -> Batch:
    """Read a padded plaintext, or raise `Malformed`: it must be exactly what `encode_batch` gives for its content."""
    if not PADDED_BYTES_MIN <= len(plain) <= ENVELOPE_BYTES_MAX:
        raise Malformed(f"a batch of {len(plain)} bytes")
    length = int.from_bytes(plain[:_LENGTH_BYTES], "big")
    end = _LENGTH_BYTES + length
    if end > len(plain) or padded_size(end) != len(plain) or plain.count(0, end) != len(plain) - end:
        raise Malformed("the padding is not canonical")
    reader = Reader(plain[_LENGTH_BYTES:end])
    version = reader.uint("batch version")
    if version != BODY_VERSION:
        raise Malformed(f"batch version {version}, this Driftlog reads {BODY_VERSION}; update it")
    heads = _decode_heads(reader)
    types = _decode_types(reader)
    records = _decode_records(reader, types)
    reader.end()
    return Batch(records, heads)


def _decode_heads(reader: Reader) -> tuple[tuple[DeviceKey, Head], ...]:
    heads = []
    for _ in range(reader.uint("heads", ENVELOPE_HEADS_MAX)):
        device = DeviceKey(reader.take(KEY_BYTES, "head's device"))
        seq = BatchSeq(reader.uint("head's number", BATCH_SEQ_MAX))
        if seq == 0:
            raise Malformed("a head has number 0")
        heads.append((device, Head(seq, EnvelopeHash(reader.take(HASH_BYTES, "head's hash")))))
    if any(a >= b for a, b in pairwise(heads)):
        raise Malformed("heads are not in order")
    return tuple(heads)


def _decode_types(reader: Reader) -> list[tuple[str, int]]:
    types = []
    for _ in range(reader.uint("event types", ENVELOPE_EVENTS_MAX)):
        try:
            name = reader.sized("event name", NAME_BYTES_MAX).decode()
        except UnicodeDecodeError:
            raise Malformed("an event name is not UTF-8") from None
        if not is_name(name):
            raise Malformed("an event name is empty or holds control characters")
        marked_version = reader.uint("event version", CRITICAL_BIT | EVENT_VERSION_MAX)
        if version_of(marked_version) == 0:
            raise Malformed(f"event {name} has version 0")
        types.append((name, marked_version))
    if len(set(types)) != len(types):
        raise Malformed("an event type is listed twice")
    return types


def _decode_records(reader: Reader, types: list[tuple[str, int]]) -> tuple[Record, ...]:
    count = reader.uint("events", ENVELOPE_EVENTS_MAX)
    if count == 0:
        raise Malformed("a batch without events")
    records = []
    last = 0
    types_seen = 0
    uint = reader.uint
    room = Room(ENVELOPE_NESTED_VALUES_MAX)
    for _ in range(count):
        step = uint("stamp", HLC_MAX - last)
        if step == 0:
            raise Malformed("stamps do not increase")
        last += step
        wall_ms = hlc_ms(last) + unzigzag(uint("wall time"))
        if not -WALL_MS_MAX <= wall_ms <= WALL_MS_MAX:
            raise Malformed(f"wall time is further from 1970 than {WALL_MS_MAX} ms")
        index = uint("type index", min(types_seen, len(types) - 1) if types else 0)
        if index >= len(types):
            raise Malformed("a batch without event types")
        types_seen = max(types_seen, index + 1)
        payload = reader.sized("payload", EVENT_PAYLOAD_BYTES_MAX)
        try:
            # Floats are the app's choice; a device that forwards an event of an unknown type cannot know it.
            check_payload(payload, is_float_allowed=True, room=room)
        except OutsideDomain as error:
            raise Malformed(str(error)) from error
        name, marked_version = types[index]
        records.append(Record(Hlc(last), wall_ms, name, marked_version, payload))
    if types_seen != len(types):
        raise Malformed("an event type is listed but not used")
    return tuple(records)


RECORD_OVERHEAD_BYTES = 10 + 10 + 2 + 3 + NAME_BYTES_MAX + 5
"""The most that one record adds to a batch beside its payload: two stamps, index, length, and a type of its own."""

BATCH_BYTES_GOAL = 512 << 10
"""Envelopes are filled up to here: half the limit, so that padding and heads never carry one over it."""


def split_records(records: Iterable[Record]) -> Iterator[tuple[Record, ...]]:
    """Cut a device's unsealed events into runs that each fit one envelope, in order.

    One at a time: whoever seals takes the first, and to count the nested values of all that follow, once for each envelope,
    would cost more than sealing.
    """
    run: list[Record] = []
    size = nested = 0
    for record in records:
        cost = len(record.payload) + RECORD_OVERHEAD_BYTES
        values = nested_values(record.payload)
        is_full = (
            len(run) == ENVELOPE_EVENTS_MAX
            or size + cost > BATCH_BYTES_GOAL
            or nested + values > ENVELOPE_NESTED_VALUES_MAX
        )
        if run and is_full:
            yield tuple(run)
            run, size, nested = [], 0, 0
        run.append(record)
        size += cost
        nested += values
    if run:
        yield tuple(run)
