"""Reading and writing by hand: unsigned LEB128 integers in their one shortest form, and fixed runs of bytes.

Every format that Driftlog lays out itself is read through `Reader`, which checks a length before it takes the bytes.
"""

UINT_MAX = (1 << 64) - 1


class Malformed(ValueError):
    """Bytes that are not in the format; the message says which field and why."""


def write_uint(out: bytearray, value: int) -> None:
    """Append an unsigned integer below 2**64 as LEB128."""
    assert 0 <= value <= UINT_MAX
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def write_sized(out: bytearray, data: bytes) -> None:
    """Append a length and the bytes."""
    write_uint(out, len(data))
    out += data


def zigzag(value: int) -> int:
    """Fold a signed 64-bit integer into an unsigned one, small magnitudes first."""
    return value << 1 if value >= 0 else (-value << 1) - 1


def unzigzag(value: int) -> int:
    """Undo `zigzag`."""
    return value >> 1 if not value & 1 else -(value >> 1) - 1


class Reader:
    """Read fields one after the other; every refusal is `Malformed` and names the field."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def uint(self, field: str, most: int = UINT_MAX) -> int:
        """Read an unsigned integer of at most `most`, in its shortest form."""
        data, at = self._data, self._at
        try:
            byte = data[at]
            at += 1
            value = byte & 0x7F
            shift = 7
            while byte > 0x7F:
                byte = data[at]
                at += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if shift > 70:
                    raise Malformed(f"{field} is longer than 10 bytes")
        except IndexError:
            raise Malformed(f"{field} is cut short") from None
        if byte == 0 and shift > 7:
            raise Malformed(f"{field} is not in its shortest form")
        if value > most:
            raise Malformed(f"{field} is {value} (limit {most})")
        self._at = at
        return value

    def take(self, count: int, field: str) -> bytes:
        """Read exactly `count` bytes."""
        end = self._at + count
        if end > len(self._data):
            raise Malformed(f"{field} is cut short: {len(self._data) - self._at} of {count} bytes")
        data = self._data[self._at : end]
        self._at = end
        return data

    def sized(self, field: str, most: int) -> bytes:
        """Read a length of at most `most`, then that many bytes."""
        return self.take(self.uint(f"{field} length", most), field)

    def left(self) -> int:
        """Say how many bytes are left."""
        return len(self._data) - self._at

    def end(self) -> None:
        """Refuse anything after the last field."""
        if self.left():
            raise Malformed(f"{self.left()} bytes after the end")
