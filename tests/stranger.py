"""A member who writes envelopes by hand: back-dated, from next year, forked, and with events that fit no type.

All of it is well-formed and signed, so nobody may refuse it; what it amounts to is the oracle's to say.
"""

import random
from typing import NamedTuple

from tests.oracle import DAY_MS
from tests.random_programs import Taste
from tests.vectors import formats
from tests.vectors.formats import Author, Entry
from tests.vectors.msgpack import pack

MISFITS: tuple[dict[str, object], ...] = (
    {},
    {"steps": 5},
    {"steps": [[]]},
    {"steps": [5]},
    {"steps": [[1.5]]},
    {"steps": [["no such step"]]},
    {"steps": [["nothing"], ["no such step"]]},
    {"steps": [], "and": "a field that nobody declared"},
    {"step": [["item_insert", "a", 1]]},
)


class Tip(NamedTuple):
    """The end of a chain to go on from."""

    number: int
    hash: bytes
    hlc: int


class Stranger:
    """The hostile member."""

    def __init__(self, rng: random.Random, taste: Taste, space: bytes, epoch_key: bytes, now_ms: int) -> None:
        self._rng = rng
        self._taste = taste
        self._author = Author.of_seed(rng.randbytes(32), space, epoch_key)
        self._now_ms = now_ms
        self._tips = [Tip(0, bytes(32), 0)]

    def write(self) -> tuple[bytes, str]:
        """Write the next envelope of some chain, and say what is in it."""
        rng = self._rng
        # Mostly the last, so that chains grow; else an older one, which makes a fork.
        tip = self._tips[-1] if rng.random() < 0.75 else rng.choice(self._tips)
        hlc = 0
        entries = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            hlc = max(hlc + 1, self._stamp(tip))
            entries.append(self._entry(hlc))
        raw, hashed = formats.write_envelope(
            self._author, tip.number + 1, tip.hash, formats.write_batch(entries, self._heads()), rng.randbytes(24)
        )
        self._tips.append(Tip(tip.number + 1, hashed, hlc))
        stamps = ", ".join(f"{(entry.hlc >> 16) - self._now_ms:+} {entry.fields()}" for entry in entries)
        return raw, f"number {tip.number + 1} after {tip.hash[:2].hex()}: {stamps}"

    def _stamp(self, tip: Tip) -> int:
        rng, now_ms = self._rng, self._now_ms
        days = (-DAY_MS, DAY_MS, DAY_MS + 1, 3 * DAY_MS, 36500 * DAY_MS)
        at = rng.choice((0, 1, rng.randint(-5000, 5000), -now_ms, *days))
        stamp = max(1, (now_ms + at) << 16 | rng.choice((0, 0, 1, 0xFFFF)))
        return rng.choice((stamp, stamp, tip.hlc + 1, max(1, tip.hlc), max(1, tip.hlc - 1)))

    def _entry(self, hlc: int) -> Entry:
        rng = self._rng
        wall_ms = rng.choice((hlc >> 16, 0, -1, 2**62))
        event = self._taste.event(is_new=True)
        name, version = event.event_name, event.event_version
        if rng.random() < 0.2:
            name, version = rng.choice((("did", 3), ("done", 1), ("🕰", 32767)))
        if rng.random() < 0.1:
            name, version = rng.choice(
                (("driftlog.undone", 1), ("driftlog.redone", 1), ("driftlog.undone", 2), ("driftlog.x", 1))
            )
            named = [rng.choice((0, hlc - 1, hlc)).to_bytes(8, "big") + rng.randbytes(rng.choice((64, 63)))]
            return Entry(
                hlc, wall_ms, name, version, pack(rng.choice(({"events": named}, {"events": []}, {}, {"events": 1})))
            )
        fields = rng.choice(MISFITS) if rng.random() < 0.15 else {"steps": event.steps}
        return Entry(hlc, wall_ms, name, version, pack(fields))

    def _heads(self) -> list[formats.Head]:
        """Claim to have seen what nobody wrote."""
        rng = self._rng
        count = rng.choice((0, 0, 3))
        return sorted((bytes([rng.randrange(4)]) * 32, rng.randint(1, 9), rng.randbytes(32)) for _ in range(count))
