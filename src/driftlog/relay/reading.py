"""What the relay reads from its file: a space's heads, what a device proves to hold, and pages of envelopes.

Reads run on a connection of their own, beside the writer's, and see whole commits only. What is read is looked at before it
is handed out (`damage`).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, cast

from driftlog._core.ids import BatchSeq, Birthday, DeviceKey, EnvelopeHash, Position, SpaceId
from driftlog._core.version_vector import Head, VersionVector
from driftlog._protocol.limits import FRAME_ENVELOPES_MAX
from driftlog._protocol.relay_session import Admitted, PageRead, Proved, ReadPage
from driftlog._sqlite.connection import connect
from driftlog._sqlite.transactions import read_transaction
from driftlog._sqlite.wal import abandon
from driftlog.relay.damage import damaged, is_as_stored, is_head, is_number, relay_errors
from driftlog.relay.schema import base_of, read_birthday
from driftlog.relay.store import Counts

SCAN_ROWS_MAX: Final = 10_000
"""Rows looked at for one page, when what a device holds is left out: about 10 ms, then others have their turn."""

_SPACE = "SELECT space, position FROM space WHERE id = ?"
# What an index holds SQLite takes from there, unless the row is asked for a second time: the two may differ.
_HEADS = """
SELECT d.key, d.batch_seq, d.hash, d.device, iif(i.key = d.key AND i.space = d.space, e.hash, NULL)
  FROM device AS i JOIN device AS d ON d.device = i.device
       LEFT JOIN envelope AS e ON e.device = d.device AND e.batch_seq = d.batch_seq
 WHERE i.space = ?
"""
_HASH_AT = "SELECT hash FROM envelope WHERE device = ? AND batch_seq = ?"
_ID_AT = "SELECT id FROM envelope WHERE device = ? AND batch_seq = ?"
_ROWS = """
SELECT id, key, envelope.batch_seq, envelope.hash, raw FROM envelope LEFT JOIN device USING (device)
 WHERE id > ? AND id <= ? ORDER BY id LIMIT ?
"""
# Without `raw`: a row's overflow pages are not read for an envelope that the device holds.
_PLACES = """
SELECT e.id, d.key, e.batch_seq, e.hash FROM envelope AS e LEFT JOIN device AS d USING (device)
 WHERE e.id > ? AND e.id <= ? ORDER BY e.id LIMIT ?
"""
_RAW = "SELECT raw FROM envelope WHERE id = ?"
# Positions have no gaps, so their sum counts the envelopes without reading one.
_COUNTS = "SELECT count(*), coalesce(sum(position), 0), coalesce(sum(bytes), 0) FROM space"

_HeadRow = tuple[DeviceKey, BatchSeq, EnvelopeHash, int, object]


class Reading:
    """A read-only connection to the relay's file. For one thread at a time. Everything may raise `StorageError`."""

    def __init__(self, path: str, *, vfs: str = "") -> None:
        self._path = path
        with relay_errors(path):
            self._connection = connect(path, is_read_only=True, vfs=vfs)
            try:
                self.birthday = Birthday(read_birthday(self._connection, path))
            except BaseException:
                abandon(self._connection)
                raise

    def close(self) -> None:
        """Let go of the file. It was read only: what closing one that is damaged raises says nothing new."""
        abandon(self._connection)

    def counts(self) -> Counts:
        """Count what is there."""
        with relay_errors(self._path):
            counts = self._connection.execute(_COUNTS).get
            if not all(is_number(count, 0) for count in counts):
                raise damaged(self._path, "its counts are no numbers")
            return Counts(*counts)

    def admit(self, space: SpaceId) -> Admitted:
        """Give a space's position and heads. One never heard of is empty, and takes no room until it holds something.

        Costs a look-up a device of the space.
        """
        with self._snapshot():
            row = self._connection.execute(_SPACE, (space,)).get
            if row is None:
                return Admitted(Position(0), VersionVector())
            number, position = row
            base_of(self._connection, self._path, number, position)
            heads = {key: (Head(batch_seq, hashed),) for key, batch_seq, hashed, *_ in self._heads(number)}
            return Admitted(Position(position), VersionVector(heads))

    def prove(self, space: SpaceId, heads: VersionVector) -> Proved:
        """Find how far heads prove each chain to be held: an entry proves all before it if the hash there is ours.

        Costs three look-ups a device of the space.
        """
        with self._snapshot():
            row = self._connection.execute(_SPACE, (space,)).get
            if row is None:
                return Proved(Position(0), {})
            number, position = row
            base = base_of(self._connection, self._path, number, position)
            seq_by_device: dict[DeviceKey, int] = {}
            first_lacking = position + 1
            for key, batch_seq, hashed, device, _ in self._heads(number):
                proved = self._proved(device, Head(batch_seq, hashed), heads.get(key, ()))
                if proved:
                    seq_by_device[key] = proved
                if proved < batch_seq:
                    at = self._connection.execute(_ID_AT, (device, proved + 1)).get
                    if not is_number(at, base + 1) or at > base + position:
                        raise damaged(self._path, f"envelope {proved + 1} of a device is not where it was")
                    first_lacking = min(first_lacking, at - base)
            return Proved(Position(first_lacking - 1), seq_by_device)

    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        """Read on after a position, up to the bytes asked for and at least one envelope."""
        with self._snapshot():
            row = self._connection.execute(_SPACE, (space,)).get
            if row is None:
                return PageRead(page.walk, (), page.after, is_end=True)
            number, position = row
            base = base_of(self._connection, self._path, number, position)
            entries: list[tuple[Position, bytes]] = []
            size, until = 0, page.after
            for at, raw in self._rows(space, base, page.after, position, page.seq_by_device):
                if raw is not None:
                    if entries and (size + len(raw) > page.bytes_max or len(entries) == FRAME_ENVELOPES_MAX):
                        break
                    entries.append((at, raw))
                    size += len(raw)
                until = at
            if until == page.after < position:
                raise damaged(self._path, f"the envelope at position {until + 1} is missing")
            return PageRead(page.walk, tuple(entries), until, until >= position)

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """See one commit's state for the length of the block."""
        with relay_errors(self._path):
            if self._connection.in_transaction:
                # Left by a call that could not end it. To begin another within it fails, and would read as damage.
                self._connection.execute("ROLLBACK")
            with read_transaction(self._connection):
                yield

    def _heads(self, number: int) -> list[_HeadRow]:
        rows = cast(list[_HeadRow], self._connection.execute(_HEADS, (number,)).fetchall())
        for key, batch_seq, hashed, _, there in rows:
            if not is_head(key, Head(batch_seq, hashed), there):
                raise damaged(self._path, "the end of a device's chain is not where it was")
        return rows

    def _rows(
        self, space: SpaceId, base: int, after: Position, until: int, seq_by_device: Mapping[DeviceKey, int]
    ) -> Iterator[tuple[Position, bytes | None]]:
        """Give each position with its envelope's bytes, or with None if the device holds it."""
        sql, limit = (_PLACES, SCAN_ROWS_MAX) if seq_by_device else (_ROWS, FRAME_ENVELOPES_MAX)
        expected = base + after
        for row_id, key, batch_seq, hashed, *raws in self._connection.execute(sql, (expected, base + until, limit)):
            expected += 1
            at = Position(expected - base)
            # Positions have no gaps.
            if row_id != expected or not is_number(batch_seq):
                raise damaged(self._path, f"the envelope at position {at} is not where it was")
            if batch_seq <= seq_by_device.get(key, 0):
                yield at, None
                continue
            raw = raws[0] if raws else self._connection.execute(_RAW, (row_id,)).get
            if not is_as_stored(raw, space=space, key=key, batch_seq=batch_seq, hashed=hashed):
                raise damaged(self._path, f"the envelope at position {at} is not the one that was stored")
            yield at, raw

    def _proved(self, device: int, last: Head, chain: tuple[Head, ...]) -> int:
        for head in reversed(chain):
            if head.batch_seq > last.batch_seq:
                continue
            hashed = (
                last.hash
                if head.batch_seq == last.batch_seq
                else self._connection.execute(_HASH_AT, (device, head.batch_seq)).get
            )
            if hashed == head.hash:
                return head.batch_seq
        return 0
