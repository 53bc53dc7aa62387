"""Map keys that all have one hash in CPython: a reader that builds a dict of them compares each with all before it.

Text and bytes are hashed with a secret of the process. Tuples of integers are not, and a reader of MessagePack may give
arrays that are keys as tuples: their hash can be solved for its last item.
"""

import random
from functools import cache

_WORD = 1 << 64
_PRIME_1, _PRIME_2, _PRIME_5 = 11400714785074694791, 14029467366897019727, 2870177450012600261
_HASHED_AS_THEMSELVES = (1 << 61) - 1
_WANTED = 12345


def _round(state: int, lane: int) -> int:
    state = (state + lane * _PRIME_2) % _WORD
    return (state << 31 | state >> 33) % _WORD * _PRIME_1 % _WORD


@cache
def colliding_keys(count: int) -> tuple[bytes, ...]:
    """Give so many MessagePack arrays of two integers whose tuples have one hash."""
    draw = random.Random(count)
    turned = _WANTED * pow(_PRIME_1, -1, _WORD) % _WORD
    before = (turned << 33 | turned >> 31) % _WORD
    keys: list[bytes] = []
    while len(keys) < count:
        first = draw.randrange(1 << 32, 1 << 60)
        second = (before - _round(_PRIME_5, first)) * pow(_PRIME_2, -1, _WORD) % _WORD
        if 1 << 32 <= second < _HASHED_AS_THEMSELVES:
            keys.append(b"\x92\xcf" + first.to_bytes(8, "big") + b"\xcf" + second.to_bytes(8, "big"))
    return tuple(keys)
