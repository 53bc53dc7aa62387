"""The value domain of events, closed at both ends: checked when an event is made and when one is received.

int64, text (UTF-8, no NUL), bytes, bool, null, lists, maps with text keys, and finite floats where the app opts in. A
payload is the MessagePack of one map; it is canonical when decoding and encoding it again gives the same bytes. What is
outside the domain would differ between devices later: SQLite turns NaN into NULL, cuts text at NUL in places, and wraps
nothing but refuses integers past 64 bits.
"""

from typing import Final

import msgspec

from driftlog._core.limits import EVENT_PAYLOAD_BYTES_MAX, NESTED_VALUES_MAX, VALUE_DEPTH_MAX

FLOAT_MARKER: Final = b"\xcb"
"""The byte that begins every float in canonical MessagePack; it may stand elsewhere too."""

INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 63) - 1

_INFINITY: Final = float("inf")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class OutsideDomain(ValueError):
    """A value that no event may hold; the message names where it stands and what it is."""


def check_payload(payload: bytes, *, is_float_allowed: bool) -> dict[str, object]:
    """Decode a payload, and refuse it unless it is canonical and every value is in the domain.

    Costs about 1 µs for a small event.
    """
    if len(payload) > EVENT_PAYLOAD_BYTES_MAX:
        raise OutsideDomain(f"the payload has {len(payload)} bytes (limit {EVENT_PAYLOAD_BYTES_MAX})")
    try:
        fields = _decode(payload)
        encoded = _encode(fields)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError, TypeError) as error:
        raise OutsideDomain(f"the payload is not well-formed: {error}") from error
    if encoded != payload:
        raise OutsideDomain("the payload is not in its canonical form")
    if type(fields) is not dict:
        raise OutsideDomain("the payload is not a map of fields")
    thorough = _Check(is_float_allowed)
    for name, value in fields.items():
        kind = type(value)
        if kind is str and type(name) is str:
            if "\0" not in value and "\0" not in name:
                continue
        elif kind is int and type(name) is str and "\0" not in name and value <= INT_MAX:
            continue
        if type(name) is not str or "\0" in name:
            raise OutsideDomain(f"key {name!r} is not text without NUL")
        thorough.value(value, name, 1)
    return fields


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

    def value(self, value: object, where: str, depth: int) -> None:
        match value:
            case None | bool() | bytes():
                return
            case str():
                if "\0" in value:
                    raise OutsideDomain(f"{where} holds a NUL character; remove it")
            case int():
                if not INT_MIN <= value <= INT_MAX:
                    raise OutsideDomain(f"{where} is {value}, outside 64 signed bits; use text")
            case float():
                self._float(value, where)
            case list():
                self._enter(len(value), where, depth)
                for index, item in enumerate(value):
                    if type(item) is not int or item > INT_MAX:
                        self.value(item, f"{where}[{index}]", depth + 1)
            case dict():
                self._enter(len(value), where, depth)
                for key, item in value.items():
                    if not isinstance(key, str) or "\0" in key:
                        raise OutsideDomain(f"{where} has the key {key!r}; keys are text without NUL")
                    self.value(item, f"{where}.{key}", depth + 1)
            case _:
                raise OutsideDomain(f"{where} is a {type(value).__name__}; use text, an integer or bytes")

    def _float(self, value: float, where: str) -> None:
        if not self._is_float_allowed:
            raise OutsideDomain(
                f"{where} is the float {value!r}; use an integer of a smaller unit (cents, ms), "
                "or declare the app with floats=True"
            )
        # The negated comparison is also true for NaN.
        if not -_INFINITY < value < _INFINITY:
            raise OutsideDomain(f"{where} is {value!r}; only finite floats have one meaning everywhere")

    def _enter(self, count: int, where: str, depth: int) -> None:
        self._room -= count
        if self._room < 0:
            raise OutsideDomain(f"{where} nests more than {NESTED_VALUES_MAX} values; use bytes, or several events")
        if depth >= VALUE_DEPTH_MAX:
            raise OutsideDomain(f"{where} is nested deeper than {VALUE_DEPTH_MAX} levels")
