"""Inputs as trees: what a format is made of, so that a mutation can change one part and all around it is still right.

A tree renders to bytes. Lengths, counts, paddings, checksums, tags and signatures are made at rendering, of whatever lies
beneath: so a mutation reaches the code behind each check. To miss a check on purpose, a node lies about its size.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from nacl import bindings

from tests.vectors.formats import Author, blake, uint
from tests.vectors.msgpack import pack


@dataclass(frozen=True)
class Raw:
    """Bytes as they are."""

    data: bytes


@dataclass(frozen=True)
class Uint:
    """A LEB128 integer; `padding` more groups than it needs make it overlong."""

    value: int
    padding: int = 0


@dataclass(frozen=True)
class Fixed:
    """A big-endian integer of so many bytes; what does not fit is cut off at the top."""

    value: int
    size: int


@dataclass(frozen=True)
class Sized:
    """A length, then a part; `lie` is added to the length that is said."""

    body: "Node"
    lie: int = 0


@dataclass(frozen=True)
class Counted:
    """A count, then items; `lie` is added to the count that is said."""

    items: "tuple[Node, ...]"
    lie: int = 0


@dataclass(frozen=True)
class Seq:
    """Parts one after the other."""

    items: "tuple[Node, ...]"


@dataclass(frozen=True)
class Wrapped:
    """A part in what is computed from it: a padding, a checksum, an armour."""

    wrap: Callable[[bytes], bytes]
    body: "Node"


@dataclass(frozen=True)
class Sealed:
    """An envelope: a clear header, and a batch that is sealed and signed at rendering."""

    header: "Node"
    plain: "Node"
    author: Author
    lie: int = 0


@dataclass(frozen=True)
class Pack:
    """A MessagePack value. Lists are lists, maps are `Pairs`, so that keys may be anything and stand twice."""

    value: "Packed"


@dataclass(frozen=True)
class Pairs:
    """The pairs of a MessagePack map, in order."""

    pairs: "tuple[tuple[Packed, Packed], ...]"


@dataclass(frozen=True)
class Odd:
    """Bytes within a MessagePack value that this module's encoder would not write: overlong, extensions, nonsense."""

    data: bytes


Packed = None | bool | int | float | str | bytes | list["Packed"] | Pairs | Odd
Node = Raw | Uint | Fixed | Sized | Counted | Seq | Wrapped | Sealed | Pack

HEADER_BEFORE_SIZE = 138
"""Bytes of an envelope's header before the sealed part's size."""


def render(node: Node) -> bytes:
    """Give a tree's bytes."""
    match node:
        case Raw(data):
            return data
        case Uint(value, padding):
            written = uint(value)
            return written[:-1] + bytes([written[-1] | 128]) + b"\x80" * (padding - 1) + b"\0" if padding else written
        case Fixed(value, size):
            return (value % (1 << (8 * size))).to_bytes(size, "big")
        case Sized(body, lie):
            data = render(body)
            return uint(max(0, len(data) + lie)) + data
        case Counted(items, lie):
            return uint(max(0, len(items) + lie)) + b"".join(map(render, items))
        case Seq(items):
            return b"".join(map(render, items))
        case Wrapped(wrap, body):
            return wrap(render(body))
        case Sealed(header, plain, author, lie):
            return _sealed(render(header), render(plain), author, lie)
        case Pack(value):
            return packed(value)


def _sealed(header: bytes, plain: bytes, author: Author, lie: int) -> bytes:
    clear = header + ((len(plain) + 16 + lie) % (1 << 32)).to_bytes(4, "big")
    nonce = header[HEADER_BEFORE_SIZE - 24 : HEADER_BEFORE_SIZE].ljust(24, b"\0")
    unsigned = clear + bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, clear, nonce, author.epoch_key)
    return unsigned + bindings.crypto_sign(blake("driftlog envlp 1", unsigned), author.secret)[:64]


def packed(value: Packed) -> bytes:
    """Write a value in MessagePack's shortest form, odd parts as they are."""
    match value:
        case None | bool() | float() | bytes():
            return pack(value)
        case int():
            return _packed_int(value)
        case str():
            data = value.encode(errors="surrogatepass")
            return _head(len(data), 0xA0, 32, 0xD9, 0xDA, 0xDB) + data
        case list():
            return _head(len(value), 0x90, 16, 0, 0xDC, 0xDD) + b"".join(map(packed, value))
        case Pairs(pairs):
            head = _head(len(pairs), 0x80, 16, 0, 0xDE, 0xDF)
            return head + b"".join(packed(key) + packed(item) for key, item in pairs)
        case Odd(data):
            return data


def _head(count: int, fix: int, fix_end: int, one: int, two: int, four: int) -> bytes:
    if count < fix_end:
        return bytes([fix | count])
    if count < 256 and one:
        return bytes([one, count])
    if count < 1 << 16:
        return bytes([two]) + count.to_bytes(2, "big")
    return bytes([four]) + count.to_bytes(4, "big")


def _packed_int(value: int) -> bytes:
    if -32 <= value < 128:
        return value.to_bytes(1, "big", signed=True)
    for size, code in ((1, 0), (2, 1), (4, 2), (8, 3)):
        if 0 <= value < 1 << (8 * size):
            return bytes([0xCC + code]) + value.to_bytes(size, "big")
        if -(1 << (8 * size - 1)) <= value < 0:
            return bytes([0xD0 + code]) + value.to_bytes(size, "big", signed=True)
    return b"\xcf" + (value % (1 << 64)).to_bytes(8, "big")


def children(node: Node) -> tuple[Node, ...]:
    """Give the parts of a node."""
    match node:
        case Sized(body) | Wrapped(_, body):
            return (body,)
        case Counted(items) | Seq(items):
            return items
        case Sealed(header, plain):
            return (header, plain)
        case _:
            return ()


def with_child(node: Node, index: int, child: Node) -> Node:
    """Give the node with one of its parts replaced."""
    match node:
        case Sized() | Wrapped():
            return replace(node, body=child)
        case Counted(items) | Seq(items):
            return replace(node, items=(*items[:index], child, *items[index + 1 :]))
        case Sealed():
            return replace(node, header=child) if index == 0 else replace(node, plain=child)
        case _:
            raise AssertionError(f"{node} has no parts")


def walk(node: Node, path: tuple[int, ...] = ()) -> list[tuple[tuple[int, ...], Node]]:
    """List a node and all beneath it, each with its path from the top."""
    found: list[tuple[tuple[int, ...], Node]] = [(path, node)]
    for index, child in enumerate(children(node)):
        found += walk(child, (*path, index))
    return found


def put(node: Node, path: tuple[int, ...], new: Node) -> Node:
    """Give the tree with another node at a path."""
    if not path:
        return new
    index, *rest = path
    return with_child(node, index, put(children(node)[index], tuple(rest), new))
