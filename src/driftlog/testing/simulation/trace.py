"""What happened in a run, as a hash of every step and as lines for people. Equal seeds must leave equal traces."""

from hashlib import blake2b
from typing import Final

LINES_MAX: Final = 2_000
"""Kept for people; the hash takes in everything."""


class Trace:
    """Notes what happens."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._hash = blake2b(digest_size=16)
        self._steps = bytearray()

    def step(self, lane: int) -> None:
        """Note whose turn it was."""
        self._steps.append(lane & 0xFF)

    def data(self, data: bytes) -> None:
        """Note bytes that went from one host to another."""
        self._flush()
        self._hash.update(data)

    def note(self, now_ms: int, line: str) -> None:
        """Note something that people want to read."""
        self._flush()
        self._hash.update(f"{now_ms} {line}\n".encode())
        if len(self.lines) < LINES_MAX:
            self.lines.append(f"{now_ms / 1000:.3f} {line}")

    def digest(self) -> str:
        """Give the hash of all that was noted."""
        self._flush()
        return self._hash.hexdigest()

    def _flush(self) -> None:
        self._hash.update(self._steps)
        self._steps.clear()
