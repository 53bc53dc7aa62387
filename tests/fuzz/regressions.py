"""Inputs that something went wrong with once, by what it was. Made here where a few words make them; CI judges each."""

from typing import Final

from tests.fuzz import seeds as s
from tests.fuzz.colliding import colliding_keys
from tests.fuzz.trees import Odd, Pack, Packed, Pairs, Raw, Seq, Uint, packed, render


def _colliding() -> Pairs:
    return Pairs(tuple((Odd(key), None) for key in colliding_keys(4_000)))


def _payload(*pairs: tuple[Packed, Packed]) -> bytes:
    return packed(Pairs(pairs))


def _sealed(payload: bytes) -> bytes:
    return render(s.envelope(s.batch((("TodoAdded", 1),), ((0, Pack(Odd(payload))),))))


_TWICE: Final = _payload(("k", [_colliding()]), ("k", None))
_LONG_PATH: Final = _payload(("\U0001f600" + "k" * 110_000, [None] * 9_990))
_MANY_HEADS: Final = render(
    s.vector(tuple(s.head(number.to_bytes(32, "big"), 1, bytes(32)) for number in range(14_001)))
)

REGRESSIONS: Final[dict[str, tuple[str, bytes]]] = {
    "keys-of-one-hash": ("payload", packed(_colliding())),
    "keys-of-one-hash-within": ("payload", _payload(("k", _colliding()))),
    "keys-of-one-hash-sealed": ("envelope", _sealed(_payload(("k", _colliding())))),
    "keys-of-one-hash-under-a-key-that-stands-twice": ("payload", _TWICE),
    "long-path-to-many-values": ("payload", _LONG_PATH),
    "long-path-to-many-values-sealed": ("envelope", _sealed(_LONG_PATH)),
    "refusal-that-repeats-a-key": ("payload", _payload(("\0" * 120_000, 1))),
    "empty-maps-past-the-limit": ("payload", _payload(("k", [Pairs(())] * 60_000))),
    "address-with-half-a-bracket": ("address", b"ws://["),
    "address-with-a-port-of-letters": ("address", b"ws://relay.example:x"),
    "key-file-of-a-mebibyte": ("key-file", b"driftlog-device 1 " + b" " * (1 << 20)),
    "key-file-with-white-space-between-digits": ("key-file", b"driftlog-device 1 " + b"00\t" * 32),
    "stamp-of-what-is-no-text": ("last-stamp", b"\xff" * 200),
    "more-heads-than-are-sent": (
        "frame-from-device",
        b"\x04" + render(Seq((Uint(len(_MANY_HEADS)), Raw(_MANY_HEADS)))),
    ),
    "undo-data-of-no-row": ("undo", packed([[[0, []]], [[0, "a"], [-1, "b", 1, None]]])),
    "undo-data-that-cannot-be-held": ("undo", packed([[], [[0, "a", "no integer", None]]])),
    "end-of-a-chain-cut-off": ("fact", b"\4" + bytes(20)),
    "end-of-a-chain-beyond-63-bits": ("fact", b"\4" + bytes(40) + b"\xff" * 8),
    "mark-of-effects-beyond-63-bits": ("fact", b"\6" + b"\xff" * 72),
    "mark-of-effects-cut-off": ("fact", b"\6" + bytes(7)),
    "app-name-of-zeros": ("fact", b"\0" + bytes(500)),
    "key-of-a-thousand-values": ("why-key", packed(["item", *[1] * 1_000])),
    "table-with-a-long-name": ("why-key", packed(["x" * 2_000, 1])),
    "end-of-the-own-chain-at-the-last-stamp": (
        "fact",
        b"\x04" + (2).to_bytes(8, "big") + bytes(32) + b"\x7f" + b"\xff" * 7,
    ),
}
"""Name: target and input."""
