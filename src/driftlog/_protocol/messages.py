"""The frames that a device and a relay exchange: one WebSocket binary message each, a type byte and a body.

Encode and decode stand side by side. Decoding checks every limit before it builds anything, and refuses (`Malformed`)
what encoding would not have produced. A frame that belongs to the other direction is refused like garbage.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from driftlog._core.genesis import GENESIS_BYTES, Genesis
from driftlog._core.ids import BIRTHDAY_BYTES, Birthday, Position, SpaceId, digest
from driftlog._core.version_vector import VersionVector
from driftlog._core.wire import Malformed, Reader, write_sized, write_uint
from driftlog._protocol.fields import (
    read_birthday,
    read_envelopes,
    read_flag,
    read_text,
    read_vector,
    sized_text,
    write_envelopes,
)
from driftlog._protocol.limits import FRAME_BYTES_MAX, FRAME_ENVELOPES_MAX, HEADS_PER_FRAME_MAX, UPLOAD_BYTES_GOAL

PROTOCOL_VERSION = 1
NONCE_BYTES = 32
SIGNATURE_BYTES = 64
VECTOR_DIGEST_BYTES = 16
POSITION_MAX = (1 << 63) - 1
NO_BIRTHDAY = Birthday(bytes(BIRTHDAY_BYTES))
"""What a device says that has never read from this relay."""


class Refusal(IntEnum):
    """Why a relay did not store one envelope."""

    MALFORMED = 1
    BAD_SIGNATURE = 2
    OTHER_SPACE = 3
    GAP = 4
    """The device's previous envelope is not there."""
    FORK = 5
    """The relay holds another envelope at that place of the device's chain, or at the place before it."""
    QUOTA = 6
    TOO_LARGE = 7
    UNAVAILABLE = 8
    """The relay's disk is full or failing: reading goes on."""


class Farewell(IntEnum):
    """Why a relay ends the conversation."""

    NOT_A_MEMBER = 1
    PROTOCOL_VERSION = 2
    MALFORMED = 3
    SHUTTING_DOWN = 4
    UNAVAILABLE = 5
    """The relay's disk failed or is full: what was not acknowledged is not stored."""
    SILENT = 6


def hello_message(nonce: bytes, space: SpaceId) -> bytes:
    """Give what a member signs with the space's access key: it is good for this connection and this space only."""
    assert len(nonce) == NONCE_BYTES
    return b"driftlog hello 1\0" + digest(b"driftlog hello 1", nonce, space)


# --- relay to device -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Challenge:
    """The relay's first word: the version it speaks, and what to sign."""

    TYPE: ClassVar = 0x01
    protocol: int
    nonce: bytes

    def encode(self) -> bytes:
        return bytes([self.TYPE, self.protocol]) + self.nonce

    @classmethod
    def read(cls, reader: Reader) -> "Challenge":
        return cls(reader.take(1, "protocol version")[0], reader.take(NONCE_BYTES, "nonce"))


@dataclass(frozen=True, slots=True)
class Welcome:
    """The device may read and write. `heads` is what the relay holds; None says that it is what the device holds."""

    TYPE: ClassVar = 0x03
    birthday: Birthday
    position: Position
    heads: VersionVector | None

    def encode(self) -> bytes:
        out = bytearray([self.TYPE])
        out += self.birthday
        write_uint(out, self.position)
        out.append(self.heads is None)
        if self.heads is not None:
            write_sized(out, self.heads.encode())
        return bytes(out)

    @classmethod
    def read(cls, reader: Reader) -> "Welcome":
        birthday = read_birthday(reader)
        if birthday == NO_BIRTHDAY:
            raise Malformed("a relay without a birthday")
        position = Position(reader.uint("position", POSITION_MAX))
        return cls(birthday, position, None if read_flag(reader, "equal heads") else read_vector(reader))


@dataclass(frozen=True, slots=True)
class Envelopes:
    """Everything up to position `until` that this device lacked, after the frame before. It may be nothing.

    `walk` counts the WANTs that the relay had taken: "caught up" in a frame that was on its way before the last one says
    nothing.
    """

    TYPE: ClassVar = 0x05
    walk: int
    until: Position
    is_caught_up: bool
    envelopes: tuple[bytes, ...]

    def encode(self) -> bytes:
        out = bytearray([self.TYPE])
        write_uint(out, self.walk)
        write_uint(out, self.until)
        out.append(self.is_caught_up)
        write_envelopes(out, self.envelopes)
        return bytes(out)

    @classmethod
    def read(cls, reader: Reader) -> "Envelopes":
        walk = reader.uint("walk")
        until = Position(reader.uint("position", POSITION_MAX))
        return cls(walk, until, read_flag(reader, "caught up"), read_envelopes(reader))


@dataclass(frozen=True, slots=True)
class Stored:
    """So many further uploaded envelopes, in the order they were sent, are durable."""

    TYPE: ClassVar = 0x08
    count: int

    def encode(self) -> bytes:
        out = bytearray([self.TYPE])
        write_uint(out, self.count)
        return bytes(out)

    @classmethod
    def read(cls, reader: Reader) -> "Stored":
        count = reader.uint("count", FRAME_ENVELOPES_MAX)
        if count == 0:
            raise Malformed("an acknowledgement of nothing")
        return cls(count)


@dataclass(frozen=True, slots=True)
class Refused:
    """The next uploaded envelope, in the order they were sent, was not stored."""

    TYPE: ClassVar = 0x09
    code: Refusal
    text: str

    def encode(self) -> bytes:
        return bytes([self.TYPE, self.code]) + sized_text(self.text)

    @classmethod
    def read(cls, reader: Reader) -> "Refused":
        code = reader.take(1, "refusal")[0]
        if code not in Refusal.__members__.values():
            raise Malformed(f"refusal {code} is not known")
        return cls(Refusal(code), read_text(reader))


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The relay's last word, and why."""

    TYPE: ClassVar = 0x0C
    code: Farewell
    text: str

    def encode(self) -> bytes:
        return bytes([self.TYPE, self.code]) + sized_text(self.text)

    @classmethod
    def read(cls, reader: Reader) -> "Goodbye":
        code = reader.take(1, "farewell")[0]
        if code not in Farewell.__members__.values():
            raise Malformed(f"farewell {code} is not known")
        return cls(Farewell(code), read_text(reader))


# --- device to relay -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """Who asks: a space's genesis, the proof of membership, and how far the device has read from which relay."""

    TYPE: ClassVar = 0x02
    protocol: int
    genesis: Genesis
    signature: bytes
    birthday: Birthday
    cursor: Position
    vector_digest: bytes

    def encode(self) -> bytes:
        out = bytearray([self.TYPE, self.protocol])
        write_sized(out, self.genesis.encode())
        out += self.signature
        out += self.birthday
        write_uint(out, self.cursor)
        out += self.vector_digest
        return bytes(out)

    @classmethod
    def read(cls, reader: Reader) -> "Hello":
        return cls(
            reader.take(1, "protocol version")[0],
            Genesis.decode(reader.sized("genesis", GENESIS_BYTES)),
            reader.take(SIGNATURE_BYTES, "signature"),
            read_birthday(reader),
            Position(reader.uint("cursor", POSITION_MAX)),
            reader.take(VECTOR_DIGEST_BYTES, "vector digest"),
        )


@dataclass(frozen=True, slots=True)
class Want:
    """Send me everything but what these heads prove that I hold. They are heads of chains as the relay has them."""

    TYPE: ClassVar = 0x04
    heads: VersionVector

    def encode(self) -> bytes:
        flat = self.heads.flat()
        heads = self.heads if len(flat) <= HEADS_PER_FRAME_MAX else VersionVector.of(flat[:HEADS_PER_FRAME_MAX])
        out = bytearray([self.TYPE])
        write_sized(out, heads.encode())
        return bytes(out)

    @classmethod
    def read(cls, reader: Reader) -> "Want":
        return cls(read_vector(reader))


@dataclass(frozen=True, slots=True)
class Read:
    """The oldest unanswered ENVELOPES frame, which ended at this position, is applied: send another."""

    TYPE: ClassVar = 0x06
    cursor: Position

    def encode(self) -> bytes:
        out = bytearray([self.TYPE])
        write_uint(out, self.cursor)
        return bytes(out)

    @classmethod
    def read(cls, reader: Reader) -> "Read":
        return cls(Position(reader.uint("cursor", POSITION_MAX)))


@dataclass(frozen=True, slots=True)
class Upload:
    """Envelopes to store, of any device, each device's in chain order."""

    TYPE: ClassVar = 0x07
    envelopes: tuple[bytes, ...]

    def encode(self) -> bytes:
        out = bytearray([self.TYPE])
        write_envelopes(out, self.envelopes)
        return bytes(out)

    @classmethod
    def read(cls, reader: Reader) -> "Upload":
        envelopes = read_envelopes(reader)
        if not envelopes:
            raise Malformed("an upload of nothing")
        return cls(envelopes)


# --- both ways -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there?"""

    TYPE: ClassVar = 0x0A

    def encode(self) -> bytes:
        return bytes([self.TYPE])


@dataclass(frozen=True, slots=True)
class Pong:
    """I am."""

    TYPE: ClassVar = 0x0B

    def encode(self) -> bytes:
        return bytes([self.TYPE])


FromRelay = Challenge | Welcome | Envelopes | Stored | Refused | Goodbye | Ping | Pong
FromDevice = Hello | Want | Read | Upload | Ping | Pong


def decode_from_relay(frame: bytes) -> FromRelay:
    """Read a frame that a relay sent, or raise `Malformed`."""
    kind, reader = _open(frame)
    message: FromRelay
    match kind:
        case Challenge.TYPE:
            message = Challenge.read(reader)
        case Welcome.TYPE:
            message = Welcome.read(reader)
        case Envelopes.TYPE:
            message = Envelopes.read(reader)
        case Stored.TYPE:
            message = Stored.read(reader)
        case Refused.TYPE:
            message = Refused.read(reader)
        case Goodbye.TYPE:
            message = Goodbye.read(reader)
        case Ping.TYPE:
            message = Ping()
        case Pong.TYPE:
            message = Pong()
        case _:
            raise Malformed(f"frame type {kind} is not one that a relay sends")
    reader.end()
    return message


def decode_from_device(frame: bytes) -> FromDevice:
    """Read a frame that a device sent, or raise `Malformed`."""
    kind, reader = _open(frame)
    message: FromDevice
    match kind:
        case Hello.TYPE:
            message = Hello.read(reader)
        case Want.TYPE:
            message = Want.read(reader)
        case Read.TYPE:
            message = Read.read(reader)
        case Upload.TYPE:
            message = Upload.read(reader)
        case Ping.TYPE:
            message = Ping()
        case Pong.TYPE:
            message = Pong()
        case _:
            raise Malformed(f"frame type {kind} is not one that a device sends")
    reader.end()
    return message


def runs_that_fit(envelopes: Iterable[bytes]) -> Iterator[tuple[bytes, ...]]:
    """Cut envelopes into runs for one UPLOAD each, in order."""
    run: list[bytes] = []
    size = 0
    for raw in envelopes:
        if run and (size + len(raw) + 3 > UPLOAD_BYTES_GOAL or len(run) == FRAME_ENVELOPES_MAX):
            yield tuple(run)
            run, size = [], 0
        run.append(raw)
        size += len(raw) + 3
    if run:
        yield tuple(run)


def _open(frame: bytes) -> tuple[int, Reader]:
    if len(frame) > FRAME_BYTES_MAX:
        raise Malformed(f"a frame of {len(frame)} bytes (limit {FRAME_BYTES_MAX})")
    reader = Reader(frame)
    return reader.take(1, "frame type")[0], reader
