"""Events: what an app declares, and the record of one as it travels and lies in the log.

An `Event` is a frozen msgspec struct with a name and a version. A `Record` is its form without the app: stamp, wall time,
name, version and payload bytes, so that a device can keep, forward and order events whose type it does not know. Whether
the type is critical is one bit of the version as it is written, because who does not know the type must see it too.
"""

import struct
from collections.abc import Callable
from functools import cache
from hashlib import blake2b
from typing import Any, ClassVar, NamedTuple, TypeVar

import msgspec
from msgspec.structs import astuple

from driftlog._core.clock import Hlc, Timestamp
from driftlog._core.ids import HASH_BYTES, DeviceKey, EventHash, SpaceId
from driftlog._core.limits import CRITICAL_BIT, EVENT_PAYLOAD_BYTES_MAX, EVENT_VERSION_MAX
from driftlog._core.names import NAME_BYTES_MAX, is_name
from driftlog._core.values import OutsideDomain, are_plain, check_payload
from driftlog.errors import InvalidApp, InvalidEvent

EventType = tuple[str, int]
"""Name and version: what tells one type of event from another."""

RESERVED_PREFIX = "driftlog."
"""Names of control events, which the engine itself will write; an app's event cannot take one."""


def check_event_name(name: str) -> str:
    """Give `name` back if an event may carry it, or raise `InvalidApp`."""
    if not is_name(name):
        raise InvalidApp(f"event name {name!r} is not 1 to {NAME_BYTES_MAX} bytes of text without control characters")
    if name.startswith(RESERVED_PREFIX):
        raise InvalidApp(
            f"event name {name!r} begins with {RESERVED_PREFIX!r}, which is Driftlog's own; choose another"
        )
    return name


class _EventMeta(msgspec.StructMeta):
    """Takes `name`, `version` and `critical` from the class statement, which msgspec's own metaclass would refuse."""

    def __new__(
        mcls,
        class_name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],  # the class body: the one place where anything may stand
        *,
        name: str | None = None,
        version: int = 1,
        critical: bool = False,
        **config: Any,  # msgspec's own options, passed on
    ) -> "_EventMeta":
        config.setdefault("frozen", True)
        cls = super().__new__(mcls, class_name, bases, namespace, **config)
        cls.event_name = check_event_name(name if name is not None else class_name)  # type: ignore[attr-defined]
        if not 1 <= version <= EVENT_VERSION_MAX:
            raise InvalidApp(f"event {class_name} has version {version}; give one from 1 to {EVENT_VERSION_MAX}")
        cls.event_version = version  # type: ignore[attr-defined]
        cls.event_marked_version = version | CRITICAL_BIT if critical else version  # type: ignore[attr-defined]
        return cls


class Event(msgspec.Struct, metaclass=_EventMeta):
    """Declare a fact of your app, in the past tense: subclass it with annotated fields, as a dataclass.

    Instances are frozen and compare by value. The name under which the event lies in logs is the class's, or
    `class TodoAdded(Event, name="todo.added", version=2)`: give one when the class may be renamed, because a name in a
    log is for ever. Fields may hold 64-bit integers, text, bytes, bool, None, lists, maps with text keys, and floats if
    the app is declared with `floats=True`. A field added later needs a default, so that older events still fit; any other
    change of the fields is a new version, to which `app.upgrade` brings the older events.

    `class LimitLowered(Event, critical=True)` is a type that nobody may overlook: a device whose app version does not know
    it goes on syncing, but appends nothing until its app is updated (`NeedsUpgrade`).
    """

    event_name: ClassVar[str]
    event_version: ClassVar[int]
    event_marked_version: ClassVar[int]
    """The version as it is written in logs and envelopes: with `CRITICAL_BIT` if the type is critical."""


class Record(NamedTuple):
    """An event as it is stored and sent, whether or not its type is known here."""

    hlc: Hlc
    wall_ms: int
    """What the device's clock showed the user, milliseconds since 1970: kept for people, without part in the order."""
    name: str
    marked_version: int
    """With `CRITICAL_BIT` if the type is critical; `version_of` takes it off."""
    payload: bytes


def version_of(marked_version: int) -> int:
    """Give the app's version of an event type."""
    return marked_version & ~CRITICAL_BIT


def is_critical(marked_version: int) -> bool:
    """Tell whether an event is of a type that nobody may overlook."""
    return marked_version & CRITICAL_BIT != 0


_EventT = TypeVar("_EventT", bound=Event)

_PLACE = struct.Struct(">QqHH").pack
"""Stamp, wall time, marked version, size of the name."""

_encode_event = msgspec.msgpack.Encoder().encode


def encode_event(event: Event, *, is_float_allowed: bool) -> bytes:
    """Give an event's canonical payload, or raise `InvalidEvent` saying which value is outside the domain."""
    payload = _encoded(event)
    _check(event, payload, is_float_allowed=is_float_allowed)
    return payload


def encode_as_read(
    event: _EventT, decode: Callable[[bytes], _EventT], *, is_float_allowed: bool
) -> tuple[_EventT, bytes]:
    """Give an event as every other device will read it, and its canonical payload, or raise `InvalidEvent`.

    msgspec checks the types of fields when it decodes, not when an instance is made.
    """
    payload = _encoded(event)
    try:
        read = decode(payload)
    except Exception as error:  # a type may check itself with code of the app's, which raises what it likes
        _check(event, payload, is_float_allowed=is_float_allowed)
        raise InvalidEvent(f"{event.event_name}: {error}; give the field a value of its declared type") from error
    if not (_has_plain_keys(type(event)) and len(payload) <= EVENT_PAYLOAD_BYTES_MAX and are_plain(astuple(read))):
        _check(event, payload, is_float_allowed=is_float_allowed)
    return read, payload


@cache
def _has_plain_keys(event_type: type[Event]) -> bool:
    config = event_type.__struct_config__
    return not config.array_like and config.tag is None and "\0" not in "".join(event_type.__struct_encode_fields__)


def _encoded(event: Event) -> bytes:
    try:
        return _encode_event(event)
    except UnicodeEncodeError as error:
        raise InvalidEvent(
            f"{event.event_name} holds text that is not valid Unicode (a lone surrogate, {error.object[error.start]!r}); "
            "decode it with errors='replace' before it becomes an event"
        ) from error
    except (OverflowError, TypeError, ValueError, RecursionError, msgspec.EncodeError) as error:
        raise InvalidEvent(f"{event.event_name} cannot be encoded: {error}") from error


def _check(event: Event, payload: bytes, *, is_float_allowed: bool) -> None:
    try:
        check_payload(payload, is_float_allowed=is_float_allowed)
    except OutsideDomain as error:
        raise InvalidEvent(f"{event.event_name}: {error}") from error


def place(space: SpaceId, device: DeviceKey, record: Record) -> Timestamp:
    """Give the event's timestamp, its place in the total order.

    Its hash says what it says, when, on which device, in which space. The device's envelope numbers have no part in it, so
    an event that is sealed again is still the same event.
    """
    hlc, wall_ms, name, marked_version, payload = record
    named = name.encode()
    text = b"".join((space, device, _PLACE(hlc, wall_ms, marked_version, len(named)), named, payload))
    # As `digest`, without the call: this runs for every event that is made or received.
    hashed = blake2b(text, digest_size=HASH_BYTES, person=b"driftlog event 1").digest()
    return Timestamp(hlc, device, EventHash(hashed))
