"""The fields that several frames share, read and written side by side.

Leaves out what the frames mean (`messages`).
"""

from driftlog._core.ids import BIRTHDAY_BYTES, Birthday
from driftlog._core.limits import ENVELOPE_BYTES_MAX
from driftlog._core.version_vector import VersionVector
from driftlog._core.wire import Malformed, Reader, write_sized, write_uint
from driftlog._protocol.limits import FRAME_ENVELOPES_MAX, HEADS_PER_FRAME_MAX, TEXT_BYTES_MAX, VECTOR_BYTES_MAX


def read_birthday(reader: Reader) -> Birthday:
    """Read a relay's birthday."""
    return Birthday(reader.take(BIRTHDAY_BYTES, "birthday"))


def read_flag(reader: Reader, field: str) -> bool:
    """Read a byte that is 0 or 1."""
    value = reader.take(1, field)[0]
    if value > 1:
        raise Malformed(f"{field} is {value}, neither 0 nor 1")
    return value == 1


def read_vector(reader: Reader) -> VersionVector:
    """Read a version vector of at most `HEADS_PER_FRAME_MAX` heads."""
    # Heads with small numbers are shorter: more of them fit the bytes than either end ever sends. So their count has a limit
    # of its own, and is looked at before they are.
    return VersionVector.decode(reader.sized("version vector", VECTOR_BYTES_MAX), HEADS_PER_FRAME_MAX)


def read_envelopes(reader: Reader) -> tuple[bytes, ...]:
    """Read a counted list of envelopes. Their content is for others to judge."""
    count = reader.uint("envelopes", FRAME_ENVELOPES_MAX)
    return tuple(reader.sized("envelope", ENVELOPE_BYTES_MAX) for _ in range(count))


def write_envelopes(out: bytearray, envelopes: tuple[bytes, ...]) -> None:
    """Append a counted list of envelopes."""
    assert len(envelopes) <= FRAME_ENVELOPES_MAX
    write_uint(out, len(envelopes))
    for raw in envelopes:
        write_sized(out, raw)


def sized_text(text: str) -> bytes:
    """Give an explanation's bytes, cut to `TEXT_BYTES_MAX`."""
    out = bytearray()
    # Cutting may split a character: the rest of it is dropped, so that what is sent is always UTF-8.
    write_sized(out, text.encode()[:TEXT_BYTES_MAX].decode(errors="ignore").encode())
    return bytes(out)


def read_text(reader: Reader) -> str:
    """Read an explanation."""
    try:
        return reader.sized("text", TEXT_BYTES_MAX).decode()
    except UnicodeDecodeError:
        raise Malformed("a text is not UTF-8") from None
