"""The version vector: for each device, how far its chain of envelopes is held. It says exactly what is missing.

Notation, in tests and comments: `a3` is the third envelope of device a; `{a3 b1}` is a version vector; `a3|a3'` is a fork,
two envelopes with the same number, each of which is a head. A device normally has one head; a forked one has several,
all branches count, and the set of heads names them all.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from driftlog._core.envelope import BATCH_SEQ_MAX
from driftlog._core.ids import HASH_BYTES, KEY_BYTES, BatchSeq, DeviceKey, EnvelopeHash, digest
from driftlog._core.wire import Malformed, Reader, write_uint

VERSION = 1
HEADS_MAX = 65_536
"""Heads in a version vector: 4.6 MB at the most."""


class Head(NamedTuple):
    """The last envelope of a chain: its number and hash."""

    batch_seq: BatchSeq
    hash: EnvelopeHash


class VersionVector(Mapping[DeviceKey, tuple[Head, ...]]):
    """An immutable map of each device to its heads, sorted; equal when the same envelopes are held."""

    __slots__ = ("_heads",)

    def __init__(self, heads: Mapping[DeviceKey, tuple[Head, ...]] | None = None) -> None:
        self._heads = {device: tuple(sorted(chain)) for device, chain in sorted((heads or {}).items()) if chain}

    def __getitem__(self, device: DeviceKey) -> tuple[Head, ...]:
        return self._heads[device]

    def __iter__(self) -> Iterator[DeviceKey]:
        return iter(self._heads)

    def __len__(self) -> int:
        return len(self._heads)

    def __repr__(self) -> str:
        chains = (f"{device[:2].hex()}:{head.batch_seq}" for device, heads in self.items() for head in heads)
        return f"VersionVector({' '.join(chains)})"

    def __hash__(self) -> int:
        return hash(tuple(self._heads.items()))

    def seq(self, device: DeviceKey) -> int:
        """Give the highest envelope number held of a device, 0 for none."""
        heads = self._heads.get(device)
        return heads[-1].batch_seq if heads else 0

    def flat(self) -> list[tuple[DeviceKey, Head]]:
        """List every head with its device, in order."""
        return [(device, head) for device, heads in self._heads.items() for head in heads]

    def encode(self) -> bytes:
        """Give its bytes: the one form of it, so that equal vectors have equal bytes."""
        out = bytearray([VERSION])
        flat = self.flat()
        write_uint(out, len(flat))
        for device, head in flat:
            out += device
            write_uint(out, head.batch_seq)
            out += head.hash
        return bytes(out)

    @classmethod
    def decode(cls, data: bytes, heads_max: int = HEADS_MAX) -> "VersionVector":
        """Read `encode`'s bytes, or raise `Malformed`; more heads than `heads_max` are refused before any is read."""
        reader = Reader(data)
        version = reader.uint("vector version")
        if version != VERSION:
            raise Malformed(f"version vector of version {version}, this Driftlog reads {VERSION}; update it")
        flat: list[tuple[DeviceKey, Head]] = []
        count = reader.uint("heads")
        if count > heads_max:
            raise Malformed(f"a version vector of more than {heads_max} heads")
        for _ in range(count):
            device = DeviceKey(reader.take(KEY_BYTES, "device"))
            seq = BatchSeq(reader.uint("number", BATCH_SEQ_MAX))
            flat.append((device, Head(seq, EnvelopeHash(reader.take(HASH_BYTES, "hash")))))
        reader.end()
        if any(a >= b for a, b in pairwise(flat)) or any(head.batch_seq == 0 for _, head in flat):
            raise Malformed("heads are not in order")
        return cls.of(flat)

    @classmethod
    def of(cls, flat: list[tuple[DeviceKey, Head]]) -> "VersionVector":
        """Build it from pairs of device and head."""
        heads: dict[DeviceKey, list[Head]] = {}
        for device, head in flat:
            heads.setdefault(device, []).append(head)
        return cls({device: tuple(chain) for device, chain in heads.items()})

    def digest(self) -> bytes:
        """Give 16 bytes that stand for this vector: equal exactly when the same envelopes are held."""
        return digest(b"driftlog vector", self.encode())[:16]
