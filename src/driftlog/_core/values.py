"""The value domain of events, closed at both ends: checked when an event is made and when one is received.

int64, text (UTF-8, no NUL), bytes, bool, null, lists, maps with text keys, and finite floats where the app opts in. A
payload is the MessagePack of one map; it is canonical when decoding and encoding it again gives the same bytes. What is
outside the domain would differ between devices later: SQLite turns NaN into NULL, cuts text at NUL in places, and wraps
nothing but refuses integers past 64 bits.
"""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final, cast

import msgspec

from driftlog._core.limits import EVENT_PAYLOAD_BYTES_MAX, NESTED_VALUES_MAX, VALUE_DEPTH_MAX

FLOAT_MARKER: Final = 0xCB
"""The byte that begins every float in canonical MessagePack; it may stand elsewhere too."""

INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 63) - 1

SMALL_PAYLOAD_BYTES: Final = 1 << 10
"""Up to here a payload is decoded before its shape is known: what so little can be made to cost does not matter."""

WHERE_CHARS_MAX: Final = 40
"""Of each name in a refusal's words: a key may be as long as a payload, and a refusal travels to other devices."""

_HEAD_BYTES_MAX: Final = 5
_INFINITY: Final = float("inf")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_Plain = bool | int | float | str | None
_Nested = _Plain | list[_Plain] | dict[str, _Plain]
# Without bytes: msgspec cannot state a union of them and text.
_decode_small = msgspec.msgpack.Decoder(dict[str, _Plain | list[_Nested] | dict[str, _Nested]]).decode
_decode_plain_map = msgspec.msgpack.Decoder(dict[str, _Plain]).decode
_decode_plain_list = msgspec.msgpack.Decoder(list[_Plain]).decode
_decode_map = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode
_decode_list = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_NOT_WELL_FORMED: Final = (msgspec.DecodeError, ValueError, OverflowError, RecursionError, TypeError)

_Where = tuple["_Where | None", str | int]
"""A place within a payload: the one around it, and a key or index. Its words are made only when they are needed: with a
long key around ten thousand items, making them for each took more than reading the payload."""


class OutsideDomain(ValueError):
    """A value that no event may hold; the message names where it stands and what it is."""


class Room:
    """What is left for the nested values of several payloads that are read together."""

    def __init__(self, values: int) -> None:
        self._values = self._left = values

    def take(self, values: int) -> None:
        """Use some of it, or raise `OutsideDomain`."""
        self._left -= values
        if self._left < 0:
            raise OutsideDomain(f"the payloads nest more than {self._values} values in all")


def check_payload(payload: bytes, *, is_float_allowed: bool, room: Room | None = None) -> dict[str, object]:
    """Decode a payload, and refuse it unless it is canonical, every value is in the domain, and what nests fits in `room`.

    Costs about 1 µs for a small event.
    """
    if len(payload) > EVENT_PAYLOAD_BYTES_MAX:
        raise OutsideDomain(f"the payload has {len(payload)} bytes (limit {EVENT_PAYLOAD_BYTES_MAX})")
    try:
        fields = _fields(payload)
        encoded = _encode(fields)
    except OutsideDomain:
        raise
    except _NOT_WELL_FORMED as error:
        raise OutsideDomain(f"the payload is not well-formed: {error}") from error
    if encoded != payload:
        raise OutsideDomain("the payload is not in its canonical form")
    thorough = _Check(is_float_allowed)
    for name, value in fields.items():
        if "\0" in name:
            raise OutsideDomain(f"key {_short(name)!r} is not text without NUL")
        kind = type(value)
        if kind is str:
            if "\0" not in value:  # type: ignore[operator]  # the line before says that it is text
                continue
        elif kind is int and value <= INT_MAX:  # type: ignore[operator]  # likewise
            continue
        thorough.value(value, (None, name))
    if room is not None:
        room.take(thorough.nested_count())
    return fields


def nested_values(payload: bytes) -> int:
    """Count the values in the lists and maps of a payload that is in the domain."""
    with suppress(msgspec.ValidationError):
        _decode_plain_map(payload)
        return 0
    fields: dict[str, object] = _decode(payload)
    return sum(map(_values_in, fields.values()))


def _values_in(value: object) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return len(value) + sum(map(_values_in, value)) if isinstance(value, list) else 0


def _fields(payload: bytes) -> dict[str, object]:
    """Decode a payload whose keys are all text.

    Keys that are arrays would be built as tuples, whose hashes anybody can make equal: a dict of five thousand such keys
    took a third of a second. So they are looked for before anything is built of them.
    """
    if len(payload) <= SMALL_PAYLOAD_BYTES:
        with suppress(msgspec.ValidationError):
            return cast("dict[str, object]", _decode_small(payload))
    if not payload or not _is_map(payload[0]):
        raise OutsideDomain("the payload is not a map of fields")
    _Shape().check_map(payload, None, 1)
    return cast("dict[str, object]", _decode(payload))


def _entries(head: bytes) -> int:
    """Give how many values a list or map has, by its first bytes."""
    code = head[0]
    if code <= 0x9F:
        return code & 0x0F
    return int.from_bytes(head[1:3] if code in (0xDC, 0xDE) else head[1:5], "big")


def _head_bytes(code: int) -> int:
    """Give how many bytes stand before the first value of a list or map."""
    return 1 if code <= 0x9F else 3 if code in (0xDC, 0xDE) else 5


def _is_container(code: int) -> bool:
    return 0x80 <= code <= 0x9F or 0xDC <= code <= 0xDF


def _is_map(code: int) -> bool:
    return 0x80 <= code <= 0x8F or code in (0xDE, 0xDF)


class _Shape:
    """The check of how lists and maps lie in each other, one level at a time, each by its first bytes."""

    def __init__(self) -> None:
        self._room = NESTED_VALUES_MAX

    def check_map(self, data: bytes | msgspec.Raw, where: _Where | None, depth: int) -> None:
        with suppress(msgspec.ValidationError):
            _decode_plain_map(data)
            return
        try:
            items = _decode_map(data)
        except msgspec.ValidationError as error:
            named = _named(where) if where else "the payload"
            raise OutsideDomain(f"{named} has a key that is not text; keys are text without NUL") from error
        if len(items) != _entries(bytes(memoryview(data)[:5])):
            # What a key stood for the first time is not among the items, and nobody would have looked at it.
            raise OutsideDomain(f"{_named(where) if where else 'the payload'} has a key twice")
        self._check_items(items.items(), where, depth)

    def _check_list(self, data: msgspec.Raw, where: _Where, depth: int) -> None:
        # To find out by a refusal costs more than all else, and a list that begins with a list is often one of lists.
        head = bytes(memoryview(data)[: _HEAD_BYTES_MAX + 1])
        if not any(map(_is_container, head[_head_bytes(head[0]) :][:1])):
            with suppress(msgspec.ValidationError):
                _decode_plain_list(data)
                return
        self._check_items(enumerate(_decode_list(data)), where, depth)

    def _check_items(self, items: Iterable[tuple[str | int, msgspec.Raw]], around: _Where | None, depth: int) -> None:
        for key, raw in items:
            data = memoryview(raw)
            code = data[0]
            is_empty = code in (0x80, 0x90)
            if not _is_container(code) or (is_empty and depth < VALUE_DEPTH_MAX):
                continue
            where = (around, key)
            self._room -= _entries(bytes(data[:5]))
            if self._room < 0:
                raise _too_many(where)
            if depth >= VALUE_DEPTH_MAX:
                raise OutsideDomain(f"{_named(where)} is nested deeper than {VALUE_DEPTH_MAX} levels")
            if _is_map(code):
                self.check_map(raw, where, depth + 1)
            else:
                self._check_list(raw, where, depth + 1)


def _too_many(where: _Where) -> OutsideDomain:
    return OutsideDomain(f"{_named(where)} nests more than {NESTED_VALUES_MAX} values; use bytes, or several events")


def _named(where: _Where) -> str:
    around, key = where
    if isinstance(key, int):
        return f"{_named(around) if around else ''}[{key}]"
    return f"{_named(around)}.{_short(key)}" if around else _short(key)


def _short(text: str) -> str:
    return text if len(text) <= WHERE_CHARS_MAX else f"{text[:WHERE_CHARS_MAX]}…"


def are_plain(values: tuple[object, ...]) -> bool:
    """Tell whether values are in the domain without a closer look: text, 64-bit integers, bytes, bool and null."""
    for value in values:
        kind = type(value)
        if kind is str:
            if "\0" in value:  # type: ignore[operator]  # the line before says that it is text
                return False
        elif kind is int:
            if not INT_MIN <= value <= INT_MAX:  # type: ignore[operator]  # likewise
                return False
        elif kind is not bool and kind is not bytes and value is not None:
            return False
    return True


class _Check:
    """The thorough check of one payload's fields, for all that is not plain text or a plain integer."""

    def __init__(self, is_float_allowed: bool) -> None:
        self._is_float_allowed = is_float_allowed
        self._room = NESTED_VALUES_MAX

    def value(self, value: object, where: _Where) -> None:
        match value:
            case None | bool() | bytes():
                return
            case str():
                if "\0" in value:
                    raise OutsideDomain(f"{_named(where)} holds a NUL character; remove it")
            case int():
                if not INT_MIN <= value <= INT_MAX:
                    raise OutsideDomain(f"{_named(where)} is {value}, outside 64 signed bits; use text")
            case float():
                self._float(value, where)
            case list():
                self._enter(len(value), where)
                for index, item in enumerate(value):
                    # Small integers, null and empty lists and maps need no closer look: payloads full of them are cheap.
                    if (item and (type(item) is not int or item > INT_MAX)) or type(item) is float:
                        self.value(item, (where, index))
            case dict():
                self._enter(len(value), where)
                for key, item in value.items():
                    if "\0" in key:
                        raise OutsideDomain(f"{_named(where)} has the key {_short(key)!r}; keys are text without NUL")
                    self.value(item, (where, key))
            case _:
                raise OutsideDomain(f"{_named(where)} is a {type(value).__name__}; use text, an integer or bytes")

    def _float(self, value: float, where: _Where) -> None:
        if not self._is_float_allowed:
            raise OutsideDomain(
                f"{_named(where)} is the float {value!r}; use an integer of a smaller unit (cents, ms), "
                "or declare the app with floats=True"
            )
        # The negated comparison is also true for NaN.
        if not -_INFINITY < value < _INFINITY:
            raise OutsideDomain(f"{_named(where)} is {value!r}; only finite floats have one meaning everywhere")

    def nested_count(self) -> int:
        """Say how many values there were in lists and maps."""
        return NESTED_VALUES_MAX - self._room

    def _enter(self, count: int, where: _Where) -> None:
        self._room -= count
        if self._room < 0:
            raise _too_many(where)
