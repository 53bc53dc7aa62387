"""MessagePack in its one canonical form, written out by hand: what a payload is, without the library that makes it.

Only the kinds that an event may hold: nil, booleans, 64-bit integers, doubles, text, bytes, arrays, and maps.
"""

import struct
from collections.abc import Mapping, Sequence


def pack(value: object) -> bytes:
    """Write a value in the shortest form there is for it."""
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return _pack_int(value)
        case float():
            return b"\xcb" + struct.pack(">d", value)
        case str():
            data = value.encode()
            return _size(len(data), 0xA0, 31, (0xD9, 0xDA, 0xDB)) + data
        case bytes():
            return _size(len(value), 0, -1, (0xC4, 0xC5, 0xC6)) + value
        case Mapping():
            size = _size(len(value), 0x80, 15, (None, 0xDE, 0xDF))
            return size + b"".join(pack(key) + pack(item) for key, item in value.items())
        case Sequence():
            return _size(len(value), 0x90, 15, (None, 0xDC, 0xDD)) + b"".join(map(pack, value))
    raise TypeError(type(value))


def _pack_int(value: int) -> bytes:
    if -32 <= value < 128:
        return struct.pack("b" if value < 0 else "B", value)
    sizes = ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)) if value >= 0 else ((0xD0, 1), (0xD1, 2), (0xD2, 4), (0xD3, 8))
    for code, size in sizes:
        low, high = (0, 256**size) if value >= 0 else (-(256**size) // 2, 0)
        if low <= value < high:
            return bytes([code]) + value.to_bytes(size, "big", signed=value < 0)
    raise OverflowError(value)


def _size(count: int, short: int, short_max: int, codes: tuple[int | None, int, int]) -> bytes:
    if count <= short_max:
        return bytes([short | count])
    for code, size in zip(codes, (1, 2, 4), strict=True):
        if code is not None and count < 256**size:
            return bytes([code]) + count.to_bytes(size, "big")
    raise OverflowError(count)


_FIXED = {0xC0: None, 0xC2: False, 0xC3: True}
_INTS = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: -1, 0xD1: -2, 0xD2: -4, 0xD3: -8}
_TEXT = {0xD9: 1, 0xDA: 2, 0xDB: 4}
_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4}
_ARRAY = {0xDC: 2, 0xDD: 4}
_MAP = {0xDE: 2, 0xDF: 4}


def unpack(data: bytes, at: int) -> tuple[object, int]:
    """Read the well-formed value at `at`; give it and where it ends."""
    code = data[at]
    at += 1
    if code < 0x80 or code >= 0xE0:
        return (code if code < 0x80 else code - 256), at
    if code in _FIXED:
        return _FIXED[code], at
    if code in _INTS:
        size = _INTS[code]
        end = at + abs(size)
        return int.from_bytes(data[at:end], "big", signed=size < 0), end
    if code == 0xCB:
        return struct.unpack_from(">d", data, at)[0], at + 8
    if code < 0x90:
        return _unpack_map(data, at, code & 15)
    if code < 0xA0:
        return _unpack_array(data, at, code & 15)
    if code < 0xC0:
        end = at + (code & 31)
        return data[at:end].decode(), end
    for codes in (_TEXT, _BYTES, _ARRAY, _MAP):
        if code in codes:
            start = at + codes[code]
            count = int.from_bytes(data[at:start], "big")
            if codes is _ARRAY:
                return _unpack_array(data, start, count)
            if codes is _MAP:
                return _unpack_map(data, start, count)
            run = data[start : start + count]
            return (run.decode() if codes is _TEXT else run), start + count
    raise ValueError(f"code {code:#x} at {at - 1}")


def _unpack_array(data: bytes, at: int, count: int) -> tuple[list[object], int]:
    items = []
    for _ in range(count):
        item, at = unpack(data, at)
        items.append(item)
    return items, at


def _unpack_map(data: bytes, at: int, count: int) -> tuple[dict[object, object], int]:
    items = {}
    for _ in range(count):
        key, at = unpack(data, at)
        items[key], at = unpack(data, at)
    return items, at
