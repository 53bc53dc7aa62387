"""Envelopes as links of chains: what is held of each device, what waits for a predecessor, what another lacks.

A chain is followed by the hash each envelope names, so both sides of a fork are kept, and the heads of all of them are
the version vector.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import apsw

from driftlog._core.envelope import PREVIOUS_AT, Envelope
from driftlog._core.ids import HASH_BYTES, NO_ENVELOPE, BatchSeq, DeviceKey, EnvelopeHash
from driftlog._core.version_vector import Head, VersionVector
from driftlog._sqlite.rows import raw_rows
from driftlog.errors import Corrupt

_FIND = "SELECT id, last_hlc, is_chained FROM driftlog_envelope WHERE device = ? AND batch_seq = ? AND hash = ?"
_INSERT = """
INSERT INTO driftlog_envelope (device, batch_seq, hash, last_hlc, void_count, is_chained, raw)
VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_CHAIN = "UPDATE driftlog_envelope SET is_chained = 1, last_hlc = ?, void_count = ? WHERE id = ?"
_PREVIOUS = f"""
SELECT substr(raw, {PREVIOUS_AT + 1}, {HASH_BYTES}) FROM driftlog_envelope WHERE device = ? AND batch_seq = ? AND hash = ?
"""
_WAITING_AT = f"""
SELECT raw FROM driftlog_envelope WHERE device = ? AND batch_seq = ? AND is_chained = 0
AND substr(raw, {PREVIOUS_AT + 1}, {HASH_BYTES}) = ? ORDER BY hash
"""
_WAITING_BYTES = "SELECT coalesce(sum(length(raw)), 0) FROM driftlog_envelope WHERE is_chained = 0"
_COUNT_WAITING = "SELECT count(*) FROM driftlog_envelope WHERE is_chained = 0"
_COUNT_VOID = "SELECT coalesce(sum(void_count), 0) FROM driftlog_envelope WHERE void_count > 0"
_HEADS = "SELECT device, batch_seq, hash FROM driftlog_head"
_BEYOND = "SELECT raw FROM driftlog_envelope WHERE device = ? AND is_chained = 1 AND last_hlc > ?"
_LAST_HLC = "SELECT coalesce(max(last_hlc), 0) FROM driftlog_head WHERE device = ?"
_DROP_HEAD = "DELETE FROM driftlog_head WHERE device = ? AND hash = ?"
_ADD_HEAD = "INSERT INTO driftlog_head (device, hash, batch_seq, last_hlc, is_told) VALUES (?, ?, ?, ?, ?)"
_UNTOLD = """
SELECT device, batch_seq, hash FROM driftlog_head WHERE is_told = 0 AND device <> ?
ORDER BY device, batch_seq, hash LIMIT ?
"""
_TELL = "UPDATE driftlog_head SET is_told = 1 WHERE device = ? AND hash = ?"
_PAGE = """
SELECT id, batch_seq, hash, raw FROM driftlog_envelope
WHERE device = ? AND is_chained = 1 AND (batch_seq, id) > (?, ?) ORDER BY batch_seq, id LIMIT ?
"""
_PLACE = "SELECT hash, last_hlc FROM driftlog_envelope WHERE device = ? AND batch_seq = ? AND is_chained = 1"

PAGE_ROWS: Final = 64
"""Envelopes read at a time: up to 64 MiB if all were full, 30 kB as they usually are."""


class Found(NamedTuple):
    """A stored envelope: its row, the last stamp of its chain, and whether its chain is complete."""

    row: int
    last_hlc: int
    is_chained: bool


class Outbound(NamedTuple):
    """An envelope to hand on."""

    device: DeviceKey
    head: Head
    raw: bytes


class Chains:
    """Reads and writes envelopes and heads, within the caller's transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def find(self, device: DeviceKey, batch_seq: int, hash_: EnvelopeHash) -> Found | None:
        """Look an envelope up by its identity."""
        row = next(raw_rows(self._connection, _FIND, (device, batch_seq, hash_)), None)
        return Found(row[0], row[1], bool(row[2])) if row else None

    def holds(self, device: DeviceKey, head: Head) -> bool:
        """Tell whether an envelope is held with all before it."""
        found = self.find(device, head.batch_seq, head.hash)
        return found is not None and found.is_chained

    def leads_to(self, device: DeviceKey, head: Head, tip: Head) -> bool:
        """Tell whether an envelope is held and is another one of the same device, or before it in the same branch."""
        if not self.holds(device, head) or head.batch_seq > tip.batch_seq:
            return False
        # Where no branch parts, the number says it; where one does, only the chain itself.
        is_alone = len(self.hash_at(device, head.batch_seq)) == 1
        return is_alone or head.hash in self._ancestry(device, [tip])

    def predecessor(self, envelope: Envelope) -> int | None:
        """Give the last stamp of the chain that an envelope continues, 0 for a first one; None if that is missing."""
        header = envelope.header
        if header.previous == NO_ENVELOPE:
            return 0
        found = self.find(header.device, header.batch_seq - 1, header.previous)
        return found.last_hlc if found is not None and found.is_chained else None

    def add(self, envelope: Envelope, last_hlc: int, void_count: int, *, is_told: bool = False) -> None:
        """Store an envelope whose predecessor is held, or complete one that waited, and move its chain's head."""
        try:
            self._add(envelope, last_hlc, void_count, is_told=is_told)
        except apsw.ConstraintError as error:
            raise Corrupt(
                f"{self._connection.filename} is damaged: an envelope is not where it was ({error}); run repair on it"
            ) from error

    def _add(self, envelope: Envelope, last_hlc: int, void_count: int, *, is_told: bool) -> None:
        header = envelope.header
        found = self.find(header.device, header.batch_seq, envelope.hash)
        if found is None:
            self._connection.execute(
                _INSERT, (header.device, header.batch_seq, envelope.hash, last_hlc, void_count, 1, envelope.raw)
            )
        else:
            self._connection.execute(_CHAIN, (last_hlc, void_count, found.row))
        self._connection.execute(_DROP_HEAD, (header.device, header.previous))
        self._connection.execute(_ADD_HEAD, (header.device, envelope.hash, header.batch_seq, last_hlc, int(is_told)))

    def wait(self, envelope: Envelope) -> None:
        """Store an envelope whose predecessor is missing."""
        header = envelope.header
        self._connection.execute(_INSERT, (header.device, header.batch_seq, envelope.hash, 0, 0, 0, envelope.raw))

    def waiting_after(self, envelope: Envelope) -> list[bytes]:
        """Give the waiting envelopes that continue this one. Others at their number are not even opened."""
        header = envelope.header
        return [
            raw
            for (raw,) in raw_rows(self._connection, _WAITING_AT, (header.device, header.batch_seq + 1, envelope.hash))
        ]

    def waiting_bytes(self) -> int:
        """Say how much is waiting."""
        size: int = self._connection.execute(_WAITING_BYTES).get
        return size

    def count_waiting_and_void(self) -> tuple[int, int]:
        """Count the envelopes that wait, and the events of all envelopes that are void."""
        return self._connection.execute(_COUNT_WAITING).get, self._connection.execute(_COUNT_VOID).get

    def version_vector(self) -> VersionVector:
        """Give the heads of all chains."""
        return VersionVector.of(
            [(DeviceKey(d), Head(BatchSeq(s), EnvelopeHash(h))) for d, s, h in raw_rows(self._connection, _HEADS)]
        )

    def untold(self, own: DeviceKey, count: int) -> list[tuple[DeviceKey, Head]]:
        """Give heads of other devices that no own envelope has named yet, in order."""
        rows = raw_rows(self._connection, _UNTOLD, (own, count))
        return [(DeviceKey(d), Head(BatchSeq(s), EnvelopeHash(h))) for d, s, h in rows]

    def tell(self, heads: list[tuple[DeviceKey, Head]]) -> None:
        """Note that an own envelope names these heads."""
        for device, head in heads:
            self._connection.execute(_TELL, (device, head.hash))

    def hash_at(self, device: DeviceKey, batch_seq: int) -> list[EnvelopeHash]:
        """Give the hashes of the envelopes with this number; more than one if the device forked."""
        return [EnvelopeHash(row[0]) for row in raw_rows(self._connection, _PLACE, (device, batch_seq))]

    def beyond(self, device: DeviceKey, hlc: int) -> Iterator[bytes]:
        """Give the envelopes of a device that end after a stamp."""
        return (raw for (raw,) in raw_rows(self._connection, _BEYOND, (device, hlc)))

    def last_hlc(self, device: DeviceKey) -> int:
        """Give the last stamp of all of a device's branches, 0 where there is none."""
        last: int = self._connection.execute(_LAST_HLC, (device,)).get
        return last

    def last_hlc_at(self, device: DeviceKey, batch_seq: int) -> int:
        """Give the last stamp of a device's chain at an envelope number, 0 where there is none."""
        return max((row[1] for row in raw_rows(self._connection, _PLACE, (device, batch_seq))), default=0)

    def missing_from(self, theirs: VersionVector) -> Iterator[Outbound]:
        """Give what another lacks, each chain in order.

        A head of theirs that is held here proves that they hold its whole chain. One that is not held, at a number where
        another envelope is, is the end of a branch that parts from ours somewhere: then all of that device is given. One
        past all that is held here only says that they are ahead.
        """
        mine = self.version_vector()
        for device, heads in mine.items():
            if theirs.get(device) == heads:
                # As after most changes, for most devices: what is told without a look at the file.
                continue
            known = [head for head in theirs.get(device, ()) if self.holds(device, head)]
            unknown = [head for head in theirs.get(device, ()) if head not in known]
            is_branch_unknown = any(self.hash_at(device, head.batch_seq) for head in unknown)
            if len(heads) > 1 or is_branch_unknown:
                theirs_too = self._ancestry(device, known)
                yield from (out for out in self._chain(device, 0) if out.head.hash not in theirs_too)
            elif not unknown or known:
                yield from self._chain(device, max((head.batch_seq for head in known), default=0))

    def _ancestry(self, device: DeviceKey, heads: list[Head]) -> set[EnvelopeHash]:
        """Give the hashes of these envelopes of a forked device and of all before them: a walk along the chains."""
        ancestry: set[EnvelopeHash] = set()
        for batch_seq, hash_ in heads:
            seq, at = batch_seq, hash_
            while at != NO_ENVELOPE and at not in ancestry:
                ancestry.add(at)
                row = next(raw_rows(self._connection, _PREVIOUS, (device, seq, at)), None)
                # The end of the own chain stays known when a repair has dropped its envelopes: what led there is not.
                if row is None:
                    break
                at = EnvelopeHash(row[0])
                seq = BatchSeq(seq - 1)
        return ancestry

    def within(self, theirs: VersionVector) -> VersionVector:
        """Give what is held here of the chains in `theirs`, up to their heads: proof of what need not be sent.

        A head of theirs that is held stands for itself; of a chain in which they are ahead, the own head stands.
        """
        mine = self.version_vector()
        flat: list[tuple[DeviceKey, Head]] = []
        for device, head in theirs.flat():
            if self.holds(device, head):
                flat.append((device, head))
            else:
                flat += [(device, own) for own in mine.get(device, ()) if own.batch_seq <= head.batch_seq]
        return VersionVector.of(sorted(set(flat)))

    def _chain(self, device: DeviceKey, after_seq: int) -> Iterator[Outbound]:
        place = (after_seq, 1 << 62)
        while rows := list(raw_rows(self._connection, _PAGE, (device, *place, PAGE_ROWS))):
            for row, batch_seq, hash_, raw in rows:
                place = (batch_seq, row)
                yield Outbound(device, Head(batch_seq, hash_), raw)
            if len(rows) < PAGE_ROWS:
                return
