"""The signatures on which Ed25519 libraries disagree, each with the outcome that every platform is held to.

After Chalkias, Garillot, Nikolaenko, "Taming the Many EdDSAs" (2020), and RFC 8032 section 7.1. The outcome is computed
by `edwards.is_valid` and is also stated here, so that a slip in either shows.
"""

from collections.abc import Iterator
from typing import NamedTuple

from tests.vectors import edwards
from tests.vectors.edwards import BASE, IDENTITY, L, P, Point


class Signature(NamedTuple):
    """One vector."""

    name: str
    is_valid: bool
    key: bytes
    message: bytes
    signature: bytes


SEED = bytes(range(32))
SECRET = edwards.secret_scalar(SEED)
KEY = edwards.times(SECRET, BASE)
NONCE = 0x1234567890ABCDEF1234567890ABCDEF
TORSION = edwards.small_order_points()

RFC_8032 = (
    # Section 7.1, TEST 1 to 3: key, message, signature.
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        (
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        ),
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        (
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        ),
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        (
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
        ),
    ),
)


def signed(message: bytes, key: Point, r: Point, *, r_bytes: bytes | None = None) -> bytes:
    """Sign with `SECRET` and `NONCE` as an attacker does who mixes torsion into the key or into R."""
    encoded = r_bytes or edwards.encode(r)
    h = edwards.challenge(encoded, edwards.encode(key), message)
    return edwards.signature(encoded, (NONCE + h * SECRET) % L)


def message_whose_challenge(key: Point, r: Point, *, is_multiple_of_8: bool) -> bytes:
    """Find a message for which the torsion in `key` cancels, or does not."""
    for number in range(1000):
        message = f"message {number}".encode()
        h = edwards.challenge(edwards.encode(r), edwards.encode(key), message)
        if (h % 8 == 0) == is_multiple_of_8:
            return message
    raise AssertionError("one challenge in eight is a multiple of eight")


def signatures() -> Iterator[Signature]:
    """Give every vector."""
    for number, (key, message, signature) in enumerate(RFC_8032, 1):
        yield Signature(
            f"RFC 8032 test {number}", True, bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)
        )
    yield from _altered_s()
    yield from _small_order()
    yield from _mixed_order()


def _altered_s() -> Iterator[Signature]:
    key, message, r = edwards.encode(KEY), b"driftlog", edwards.times(NONCE, BASE)
    good = signed(message, KEY, r)
    s = int.from_bytes(good[32:], "little")
    yield Signature("made as usual", True, key, message, good)
    for name, other in {"S + L": s + L, "S + 2 L": s + 2 * L, "S + 8 L": s + 8 * L, "S + 14 L": s + 14 * L}.items():
        yield Signature(name, False, key, message, edwards.signature(good[:32], other))
    yield Signature("S with its top bit set", False, key, message, edwards.signature(good[:32], s | 1 << 255))
    yield Signature("S = L", False, key, message, edwards.signature(good[:32], L))
    yield Signature("S negated", False, key, message, edwards.signature(good[:32], L - s))
    yield Signature("R negated", False, key, message, good[:31] + bytes([good[31] ^ 0x80]) + good[32:])
    yield Signature("another message", False, key, message + b".", good)


def _small_order() -> Iterator[Signature]:
    yield Signature("all zero: key, R and S", False, bytes(32), b"driftlog", bytes(64))
    yield Signature("all zero signature", False, edwards.encode(KEY), b"driftlog", bytes(64))
    encodings = {f"{order} T": edwards.encode(point) for order, point in enumerate(TORSION)}
    # What a library that reduces or ignores bits would take for the same points.
    encodings["0 T, sign bit set"] = (1 | 1 << 255).to_bytes(32, "little")
    encodings["4 T, sign bit set"] = (P - 1 | 1 << 255).to_bytes(32, "little")
    for sign in (0, 1):
        encodings[f"y = p, sign bit {sign}"] = (P | sign << 255).to_bytes(32, "little")
        encodings[f"y = p + 1, sign bit {sign}"] = (P + 1 | sign << 255).to_bytes(32, "little")
    for name, encoded in encodings.items():
        # With S = 0 and R the identity, every message is "signed" by a key of small order whose multiple cancels.
        for number in range(2):
            message, identity = f"message {number}".encode(), edwards.encode(IDENTITY)
            yield Signature(
                f"key {name}, R the identity, {number}", False, encoded, message, edwards.signature(identity, 0)
            )
        h = edwards.challenge(encoded, edwards.encode(KEY), b"driftlog")
        forged = edwards.signature(encoded, h * SECRET % L)
        yield Signature(f"R {name}, S = h a", False, edwards.encode(KEY), b"driftlog", forged)


def _mixed_order() -> Iterator[Signature]:
    r = edwards.times(NONCE, BASE)
    for order in (1, 2, 4):
        key = edwards.add(KEY, TORSION[order])
        for is_cancelled in (True, False):
            message = message_whose_challenge(key, r, is_multiple_of_8=is_cancelled)
            signature = signed(message, key, r)
            is_valid = edwards.is_signed_without_cofactor(message, signature, key, r)
            name = f"key + {order} T, torsion {'cancels' if is_valid else 'does not cancel'}, {int(is_cancelled)}"
            yield Signature(name, is_valid, edwards.encode(key), message, signature)
        shifted = edwards.add(r, TORSION[order])
        signature = signed(b"driftlog", KEY, shifted)
        yield Signature(f"R + {order} T", False, edwards.encode(KEY), b"driftlog", signature)
