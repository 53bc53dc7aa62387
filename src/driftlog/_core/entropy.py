"""Randomness that every device draws alike: a stream of bytes determined by an event's hash.

A materializer needs ids and dice that replay the same everywhere; `random` is neither stable between Python versions nor
seeded by the event. Nothing secret comes from here.
"""

import base64

from driftlog._core.ids import digest


class EventEntropy:
    """A stream of pseudo-random values for one event: the same event gives the same stream, on every device."""

    __slots__ = ("_blocks", "_pool", "_seed")

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._blocks = 0
        self._pool = b""

    def take(self, count: int) -> bytes:
        """Give the next `count` bytes."""
        while len(self._pool) < count:
            self._pool += digest(b"driftlog random1", self._seed, self._blocks.to_bytes(8, "big"))
            self._blocks += 1
        taken, self._pool = self._pool[:count], self._pool[count:]
        return taken

    def integer(self, low: int, high: int) -> int:
        """Give an integer from `low` to `high`, both included, without bias: draws that would favour some are skipped."""
        if low > high:
            raise ValueError(f"random_int({low}, {high}): the first bound is above the second")
        span = high - low + 1
        size = max(1, (span.bit_length() + 7) // 8)
        fair = (1 << 8 * size) // span * span
        while True:
            drawn = int.from_bytes(self.take(size), "big")
            if drawn < fair:
                return low + drawn % span

    def new_id(self) -> str:
        """Give 26 lower-case letters and digits, 128 bits: unique as an id."""
        return base64.b32encode(self.take(16)).rstrip(b"=").decode().lower()
