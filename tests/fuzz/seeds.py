"""Valid inputs of every format as trees, from which mutations start; and the vectors' inputs, as bytes.

Trees are written with the second writer of the formats (`tests.vectors.formats`), not with the engine's.
"""

import base64
import json
from typing import Final

from driftlog._crypto.keys import SigningKey
from tests.fuzz.trees import Counted, Fixed, Node, Pack, Pairs, Raw, Sealed, Seq, Sized, Uint, Wrapped, render
from tests.protocol.fakes import EPOCH_KEY, GENESIS, keys_of
from tests.vectors.formats import Author, blake, padded
from tests.vectors.make import FOLDER

APP_NAME: Final = "org.example.todos"
NOW_MS: Final = 1_800_000_000_000
OTHER: Final = keys_of(2).device
AUTHOR: Final = Author(OTHER.public, OTHER.secret, GENESIS.space, EPOCH_KEY)
"""Another device of the space, which the inputs are sealed and signed by."""

GENESIS_TREE: Final = Seq(
    (
        Fixed(1, 1),
        Fixed(1, 1),
        Raw(GENESIS.root_key),
        Raw(GENESIS.access_key),
        Raw(GENESIS.epoch_commitment),
        Raw(GENESIS.salt),
    )
)


def vectors(file: str, key: str) -> tuple[Node, ...]:
    """Give the inputs of a file of vectors, valid and refused, as they are."""
    content = json.loads((FOLDER / file).read_text(encoding="utf-8"))
    texts = [vector[key] for vector in content["vectors"] if key in vector]
    return tuple(Raw(text.encode() if key == "link" else bytes.fromhex(text)) for text in texts)


def head(device: bytes, number: int, hashed: bytes) -> Node:
    return Seq((Raw(device), Uint(number), Raw(hashed)))


HEADS: Final = tuple(
    head(bytes([device]) * 32, number, bytes([number % 256]) * 32) for device, number in ((1, 1), (1, 7), (9, 300))
)


def vector(heads: tuple[Node, ...] = HEADS) -> Node:
    return Seq((Uint(1), Counted(heads)))


VECTORS: Final = (vector(), vector(()), vector(HEADS[:1]))

PAYLOADS: Final = (
    Pack(Pairs((("id", "1"), ("text", "milk")))),
    Pack(Pairs(())),
    Pack(
        Pairs(
            (
                ("id", -1),
                ("list", [1, "a", b"b", None, True, [1.5]]),
                ("map", Pairs((("k", Pairs((("l", 1 << 40),))),))),
            )
        )
    ),
    Pack(Pairs((("long", "é" * 200), ("bytes", bytes(300)), ("wide", [None] * 20)))),
)

PLACE: Final = (NOW_MS << 16).to_bytes(8, "big") + bytes(64)
NAMED: Final = (
    Pack(Pairs((("events", [PLACE, PLACE[:8] + OTHER.public + bytes(32)]),))),
    Pack(Pairs((("events", [PLACE] * 30),))),
)
STATEMENTS: Final = (Pack(Pairs((("program", bytes(16)), ("events", bytes(32)), ("view", bytes(32))))),)


def _framed(body: bytes) -> bytes:
    return padded(len(body).to_bytes(4, "big") + body)


def batch(
    types: tuple[tuple[str, int], ...], events: tuple[tuple[int, Node], ...], heads: tuple[Node, ...] = ()
) -> Node:
    """Give a batch of events, each the index of its type and its payload."""
    named = tuple(Seq((Sized(Raw(name.encode())), Uint(version))) for name, version in types)
    records = tuple(
        Seq((Uint(NOW_MS << 16 if at == 0 else 1), Uint(0), Uint(index), Sized(payload)))
        for at, (index, payload) in enumerate(events)
    )
    return Wrapped(_framed, Seq((Uint(1), Counted(heads), Counted(named), Counted(records))))


BATCHES: Final = (
    batch((("TodoAdded", 1), ("TodoCompleted", 1)), ((0, PAYLOADS[0]), (1, Pack(Pairs((("id", "1"),))))), HEADS),
    batch((("unknown", 2), ("critical", 0x8001)), ((0, PAYLOADS[2]), (1, PAYLOADS[3]))),
    batch(
        (("TodoAdded", 1), ("driftlog.undone", 1), ("driftlog.redone", 1)),
        ((0, PAYLOADS[0]), (1, NAMED[0]), (2, NAMED[0])),
    ),
    batch((("driftlog.seen", 1), ("driftlog.digest", 1)), ((0, PAYLOADS[1]), (1, STATEMENTS[0]))),
)


def envelope(plain: Node, number: int = 1, previous: bytes = bytes(32)) -> Node:
    epoch = blake("driftlog epoch 1", EPOCH_KEY)[:8]
    header = Seq(
        (
            Fixed(1, 1),
            Fixed(1, 1),
            Raw(GENESIS.space),
            Raw(epoch),
            Raw(AUTHOR.public),
            Fixed(number, 8),
            Raw(previous),
            Raw(bytes(24)),
        )
    )
    return Sealed(header, plain, AUTHOR)


ENVELOPES: Final = tuple(map(envelope, BATCHES))


def _armoured(content: bytes) -> bytes:
    summed = content + blake("driftlog invite1", content)[:4]
    return b"driftlog://join#" + base64.urlsafe_b64encode(summed).rstrip(b"=")


INVITE: Final = Wrapped(_armoured, Seq((Fixed(1, 1), GENESIS_TREE, Raw(EPOCH_KEY), Sized(Raw(APP_NAME.encode())))))


def hello(nonce: bytes) -> Node:
    """Give a HELLO that lets its sender in."""
    access: SigningKey = keys_of(2).access
    message = b"driftlog hello 1\0" + blake("driftlog hello 1", nonce, GENESIS.space)
    return Seq(
        (
            Fixed(2, 1),
            Fixed(1, 1),
            Sized(GENESIS_TREE),
            Raw(access.sign(message)),
            Raw(bytes(16)),
            Uint(0),
            Raw(bytes(16)),
        )
    )


def _listed(*envelopes: Node) -> Node:
    return Counted(tuple(map(Sized, envelopes)))


FROM_DEVICE: Final = (
    hello(bytes(32)),
    Seq((Fixed(4, 1), Sized(vector()))),
    Seq((Fixed(6, 1), Uint(3))),
    Seq((Fixed(7, 1), _listed(*ENVELOPES[:2]))),
    Fixed(10, 1),
    Fixed(11, 1),
)
BIRTHDAY: Final = bytes(15) + b"\1"
FROM_RELAY: Final = (
    Seq((Fixed(1, 1), Fixed(1, 1), Raw(bytes(32)))),
    Seq((Fixed(3, 1), Raw(BIRTHDAY), Uint(5), Fixed(0, 1), Sized(vector()))),
    Seq((Fixed(3, 1), Raw(BIRTHDAY), Uint(5), Fixed(1, 1))),
    Seq((Fixed(5, 1), Uint(0), Uint(2), Fixed(1, 1), _listed(*ENVELOPES[:2]))),
    Seq((Fixed(8, 1), Uint(1))),
    Seq((Fixed(9, 1), Fixed(4, 1), Sized(Raw("für später".encode())))),
    Seq((Fixed(12, 1), Fixed(3, 1), Sized(Raw(b"malformed")))),
    Fixed(10, 1),
    Fixed(11, 1),
)


def stream(*frames: Node) -> Node:
    """Give frames as one input: each after its length."""
    return Seq(tuple(map(Sized, frames)))


def rendered(seeds: tuple[Node, ...]) -> tuple[bytes, ...]:
    return tuple(map(render, seeds))


CHAIN: Final = (ENVELOPES[0], envelope(BATCHES[2], 2, blake("driftlog envlp 1", render(ENVELOPES[0])[:-64])))
