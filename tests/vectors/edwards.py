"""Ed25519 in plain integers (RFC 8032), to write down the signatures on which libraries disagree.

Nothing here is fast or secret. It exists because a signature with a key of small order, or with a component of small
order mixed in, can only be made by somebody who computes on the curve himself.
"""

from hashlib import sha512

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)

Point = tuple[int, int]
IDENTITY: Point = (0, 1)


def add(one: Point, other: Point) -> Point:
    """Add two points."""
    (x1, y1), (x2, y2) = one, other
    twist = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + twist, P - 2, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - twist, P - 2, P) % P
    return x, y


def times(factor: int, point: Point) -> Point:
    """Add a point to itself so often."""
    result = IDENTITY
    while factor:
        if factor & 1:
            result = add(result, point)
        point = add(point, point)
        factor >>= 1
    return result


def point_at(y: int, *, is_odd: bool) -> Point | None:
    """Give the point at height `y` whose x is odd or even, None if there is none."""
    squared = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(squared, (P + 3) // 8, P)
    if x * x % P != squared:
        x = x * ROOT_OF_MINUS_ONE % P
    if x * x % P != squared:
        return None
    return (P - x if x % 2 != is_odd and x else x), y


def encode(point: Point) -> bytes:
    """Give a point's 32 bytes."""
    x, y = point
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _base() -> Point:
    base = point_at(4 * pow(5, P - 2, P) % P, is_odd=False)
    assert base is not None
    return base


BASE = _base()


def small_order_points() -> list[Point]:
    """Give the 8 points of the torsion subgroup, as multiples of one of order 8."""
    for y in range(2, 100):
        point = point_at(y, is_odd=False)
        if point is None:
            continue
        torsion = times(L, point)
        if times(4, torsion) != IDENTITY:
            return [times(factor, torsion) for factor in range(8)]
    raise AssertionError("half of all points have a torsion component of order 8")


def challenge(r: bytes, key: bytes, message: bytes) -> int:
    """Give the hash that binds a signature's R, the key and the message, as a number below the group's order."""
    return int.from_bytes(sha512(r + key + message).digest(), "little") % L


def secret_scalar(seed: bytes) -> int:
    """Give the scalar of a seed's key pair."""
    clamped = bytearray(sha512(seed).digest()[:32])
    clamped[0] &= 248
    clamped[31] &= 127
    clamped[31] |= 64
    return int.from_bytes(clamped, "little")


def signature(r: bytes, s: int) -> bytes:
    """Join a signature's two halves; `s` may be past the group's order."""
    return r + s.to_bytes(32, "little")


def is_signed_without_cofactor(message: bytes, signed: bytes, key: Point, r: Point) -> bool:
    """Tell whether S·B = R + h·A holds exactly, for a key and R that are encoded as usual."""
    s = int.from_bytes(signed[32:], "little")
    return times(s, BASE) == add(r, times(challenge(encode(r), encode(key), message), key))


def decode(data: bytes) -> Point | None:
    """Read a point from its one canonical encoding, None for any other bytes."""
    bits = int.from_bytes(data, "little")
    y, is_odd = bits & ~(1 << 255), bool(bits >> 255)
    point = point_at(y, is_odd=is_odd) if y < P else None
    return point if point is not None and encode(point) == data else None


def is_valid(message: bytes, signed: bytes, key: bytes) -> bool:
    """Verify by the strictest reading: canonical, nothing of small order, S below the order, no cofactor.

    It is libsodium's reading, and the one to which every platform is held: of the readings in use it alone lets no two
    signatures pass for one, and no key verify what it did not sign.
    """
    a, r = decode(key), decode(signed[:32])
    if a is None or r is None or IDENTITY in (times(8, a), times(8, r)):
        return False
    return int.from_bytes(signed[32:], "little") < L and is_signed_without_cofactor(message, signed, a, r)
