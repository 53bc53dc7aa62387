"""The mutator: changes one to several parts of a tree, and sometimes the bytes that it renders to.

All choices are drawn from one `random.Random`: a seed repeats an input, and a source that reads its bits from bytes
(`FromBytes`) lets a coverage-guided fuzzer make the choices.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from tests.fuzz.colliding import colliding_keys
from tests.fuzz.trees import (
    Counted,
    Fixed,
    Node,
    Odd,
    Pack,
    Packed,
    Pairs,
    Raw,
    Sealed,
    Seq,
    Sized,
    Uint,
    packed,
    put,
    render,
    walk,
)

BYTES_MAX = 1 << 20
"""Inputs are cut here: P25 speaks of a mebibyte, and every frame, envelope and file is refused by its size beyond it."""

EDGES = tuple(
    sorted(
        {
            edge + by
            for power in (0, 3, 7, 8, 14, 15, 16, 20, 31, 32, 47, 62, 63, 64)
            for edge in (1 << power,)
            for by in (-1, 0, 1)
        }
    )
)
LARGE_CHANCE = 0.03
"""Of a value near the limits of its size: judging one costs as much as some hundred others."""

NONSENSE = (
    b"\xc1",
    b"\xd4\x05x",
    b"\xd6\xff\0\0\0\1",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\x7f\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xd9\x01a",
    b"\xcc\x01",
    b"\xca\0\0\0\0",
    b"\xa2\xc3\x28",
)
"""Of MessagePack: a code without meaning, extensions, heads without their values, forms that are not the shortest."""

LIES = (-1, 1, -2, 127, 1 << 14, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1)


class FromBytes(random.Random):
    """Draws from bytes, then zeros without end."""

    def __init__(self, data: bytes) -> None:
        super().__init__(0)
        self._data = data
        self._at = 0

    def getrandbits(self, k: int) -> int:
        size = -(-k // 8)
        taken = self._data[self._at : self._at + size].ljust(size, b"\0")
        self._at += size
        return int.from_bytes(taken, "big") >> (size * 8 - k) if k else 0

    def random(self) -> float:
        return self.getrandbits(53) / (1 << 53)


def mutated(draw: random.Random, seeds: Sequence[Node]) -> bytes:
    """Give the bytes of one of the seeds, changed."""
    # Those without parts, such as vectors, can be changed in their bytes only: they come less often.
    structured = [seed for seed in seeds if not isinstance(seed, Raw)]
    tree = draw.choice(structured if structured and draw.random() < 0.9 else seeds)
    for _ in range(draw.choice((0, 1, 1, 1, 2, 2, 3, 5))):
        path, node = draw.choice(walk(tree))
        tree = put(tree, path, _changed(draw, node, seeds))
    data = render(tree)[:BYTES_MAX]
    return _bytes_changed(draw, data) if draw.random() < 0.25 else data


def _changed(draw: random.Random, node: Node, seeds: Sequence[Node]) -> Node:
    if draw.random() < 0.1:
        # A part of another seed, or of this one: swapped ids, spliced fields, formats one within another.
        return draw.choice(walk(draw.choice(seeds)))[1]
    match node:
        case Uint(value, _):
            return draw.choice(
                (
                    Uint(draw.choice(EDGES)),
                    Uint(max(0, value + draw.choice((-1, 1)))),
                    Uint(value, draw.choice((1, 2, 9))),
                )
            )
        case Fixed(value, size):
            return Fixed(draw.choice((draw.choice(EDGES), value + 1, value - 1, draw.getrandbits(8 * size))), size)
        case Raw(data):
            return Raw(_raw_changed(draw, data))
        case Sized() | Sealed():
            return replace(node, lie=draw.choice(LIES))
        case Counted():
            return _list_changed(draw, node)
        case Seq(items):
            return Seq(_items_changed(draw, items))
        case Pack(value):
            return Pack(_value_changed(draw, value))
        case _:
            return Raw(_bytes_changed(draw, render(node)))


def _list_changed(draw: random.Random, node: Counted) -> Counted:
    if draw.random() < 0.3:
        return replace(node, lie=draw.choice(LIES))
    return Counted(_items_changed(draw, node.items))


def _items_changed(draw: random.Random, items: tuple[Node, ...]) -> tuple[Node, ...]:
    if not items:
        return ()
    at = draw.randrange(len(items))
    match draw.randrange(6):
        case 0:
            return items[:at] + items[at + 1 :]
        case 1:
            return (*items[: at + 1], *items[at:])
        case 2:
            return items[::-1]
        case 3:
            return items[at:] + items[:at]
        case 4:
            return items[:at]
        case _:
            return items * draw.choice((2, 2, 2, 3, 3, 3, 3, 40) if len(items) < 20 else (2,))


def _raw_changed(draw: random.Random, data: bytes) -> bytes:
    match draw.randrange(5):
        case 0:
            return bytes(len(data))
        case 1:
            return b"\xff" * len(data)
        case 2:
            return draw.randbytes(draw.choice((0, 1, len(data), len(data) + 1)))
        case _:
            return _bytes_changed(draw, data)


def _bytes_changed(draw: random.Random, data: bytes) -> bytes:
    at = draw.randrange(len(data) + 1)
    end = min(len(data), at + draw.choice((1, 1, 2, 8, 100)))
    match draw.randrange(6):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[end:]
        case 2:
            return data[:at] + data[at:end] * 2 + data[end:]
        case 3:
            return data[:at] + draw.randbytes(end - at) + data[end:]
        case 4:
            return (
                data[:at]
                + draw.choice((b"\0", b"\xff", b"\x80", b"\x7f", "\u2028".encode(), b"\xed\xa0\x80"))
                + data[at:]
            )
        case _:
            return data[:at] + bytes(byte ^ (1 << draw.randrange(8)) for byte in data[at : at + 1]) + data[at + 1 :]


def _value_changed(draw: random.Random, value: Packed) -> Packed:
    """Change a value, or one within it."""
    if isinstance(value, list) and value and draw.random() < 0.6:
        at = draw.randrange(len(value))
        return [*value[:at], _value_changed(draw, value[at]), *value[at + 1 :]]
    if isinstance(value, Pairs) and value.pairs and draw.random() < 0.8:
        at = draw.randrange(len(value.pairs))
        key, item = value.pairs[at]
        changed = (_key(draw), item) if draw.random() < 0.2 else (key, _value_changed(draw, item))
        return Pairs((*value.pairs[:at], changed, *value.pairs[at + draw.randrange(2) :]))
    return _value(draw)


KEYS: tuple[Packed, ...] = ("", "k", "a\0b", 1, b"k", None, 1.5, [1, 2], Pairs(()), Odd(b"\xd9\x01k"))


def _key(draw: random.Random) -> Packed:
    if draw.random() < LARGE_CHANCE:
        return draw.choice(("", "\U0001f600")) + "k" * 60_000
    key: Packed = draw.choice(KEYS)
    return key


def _value(draw: random.Random) -> Packed:
    if draw.random() < LARGE_CHANCE:
        return Odd(draw.choice(_large()))
    match draw.randrange(7):
        case 0:
            return draw.choice((*EDGES, -1, -33, -(1 << 31), -(1 << 63)))
        case 1:
            return draw.choice(("", "text", "a\0", "\ud800", "\U0001f600" * 300))
        case 2:
            return draw.choice((0.0, -0.0, 1.5, float("nan"), float("inf"), 5e-324, True, False, None))
        case 3:
            return draw.choice((b"", bytes(32), bytes(72)))
        case 4:
            # Heads alone, innermost last: so deep that a recursive writer could not have written it.
            return _deep(draw.choice((b"\x91", b"\x81\xa1k")), draw.choice((1, 14, 15, 16, 17, 400)))
        case 5:
            return [draw.choice((None, 1, [], Pairs(()), "a"))] * draw.choice((1, 15, 16, 300))
        case _:
            return Odd(draw.choice(NONSENSE))


def _deep(head: bytes, depth: int) -> Odd:
    return Odd(head * depth + b"\xc0")


@cache
def _large() -> tuple[bytes, ...]:
    """Give values near the limits, packed once: reading them costs enough."""
    items: tuple[Packed, ...] = (None, 1, [], Pairs(()), [1], Pairs((("k", 1),)))
    lists = [packed([item] * count) for item in items for count in (9_999, 10_001, 40_000)]
    maps = [packed(Pairs(tuple((f"{number}", number) for number in range(5_000))))]
    colliding = [packed(Pairs(tuple((Odd(key), None) for key in colliding_keys(count)))) for count in (300, 4_000)]
    plain: tuple[Packed, ...] = ("x" * 131_000, "\U0001f600" + "x" * 120_000, bytes(130_000))
    deep = [_deep(head, 5_000).data for head in (b"\x91", b"\x81\xa1k")]
    return (*lists, *maps, *colliding, *colliding, *colliding, *map(packed, plain), *deep)
