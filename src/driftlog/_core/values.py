"""The value domain of events, closed at both ends: checked when an event is made and when one is received.

int64, text (UTF-8, no NUL), bytes, bool, null, lists, maps with text keys, and finite floats where the app opts in. A
payload is the MessagePack of one map; it is canonical when decoding and encoding it again gives the same bytes. What is
outside the domain would differ between devices later: SQLite turns NaN into NULL, cuts text at NUL in places, and wraps
nothing but refuses integers past 64 bits.
"""

from typing import Final

import msgspec

from driftlog._core.limits import EVENT_PAYLOAD_BYTES_MAX, VALUE_DEPTH_MAX

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
    for name, value in fields.items():
        kind = type(value)
        if kind is str and type(name) is str:
            if "\0" not in value and "\0" not in name:
                continue
        elif kind is int and type(name) is str and "\0" not in name and value <= INT_MAX:
            continue
        _check(name, str(name), is_float_allowed, 1)
        _check(value, str(name), is_float_allowed, 1)
        if type(name) is not str:
            raise OutsideDomain(f"key {name!r} is not text")
    return fields


def _check(value: object, where: str, is_float_allowed: bool, depth: int) -> None:
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
            if not is_float_allowed:
                raise OutsideDomain(
                    f"{where} is the float {value!r}; use an integer of a smaller unit (cents, ms), "
                    "or declare the app with floats=True"
                )
            # The negated comparison is also true for NaN.
            if not -_INFINITY < value < _INFINITY:
                raise OutsideDomain(f"{where} is {value!r}; only finite floats have one meaning everywhere")
        case list() | dict():
            _check_nested(value, where, is_float_allowed, depth)
        case _:
            raise OutsideDomain(f"{where} is a {type(value).__name__}; use text, an integer or bytes")


def _check_nested(value: list[object] | dict[object, object], where: str, is_float_allowed: bool, depth: int) -> None:
    if depth >= VALUE_DEPTH_MAX:
        raise OutsideDomain(f"{where} is nested deeper than {VALUE_DEPTH_MAX} levels")
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]", is_float_allowed, depth + 1)
        return
    for key, item in value.items():
        if not isinstance(key, str) or "\0" in key:
            raise OutsideDomain(f"{where} has the key {key!r}; keys are text without NUL")
        _check(item, f"{where}.{key}", is_float_allowed, depth + 1)
