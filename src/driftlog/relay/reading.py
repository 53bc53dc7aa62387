"""What the relay reads from its file: a space's heads, what a device proves to hold, and pages of envelopes.

Reads run on a connection of their own, beside the writer's, and see whole commits only.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, cast

from driftlog._core.ids import BatchSeq, Birthday, DeviceKey, EnvelopeHash, Position, SpaceId
from driftlog._core.version_vector import Head, VersionVector
from driftlog._protocol.limits import FRAME_ENVELOPES_MAX
from driftlog._protocol.relay_session import Admitted, PageRead, Proved, ReadPage
from driftlog._sqlite.connection import connect, read_transaction, storage_errors
from driftlog.relay.schema import POSITION_BITS
from driftlog.relay.store import Counts

SCAN_ROWS_MAX: Final = 10_000
"""Rows looked at for one page, when what a device holds is left out: about 10 ms, then others have their turn."""

_SPACE = "SELECT space, position FROM space WHERE id = ?"
_HEADS = "SELECT key, batch_seq, hash, device FROM device WHERE space = ?"
_HASH_AT = "SELECT hash FROM envelope WHERE device = ? AND batch_seq = ?"
_ID_AT = "SELECT id FROM envelope WHERE device = ? AND batch_seq = ?"
_ROWS = "SELECT id, raw FROM envelope WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"
# Without `raw`: a row's overflow pages are not read for an envelope that the device holds.
_PLACES = """
SELECT e.id, d.key, e.batch_seq FROM envelope AS e JOIN device AS d USING (device)
 WHERE e.id > ? AND e.id <= ? ORDER BY e.id LIMIT ?
"""
_RAW = "SELECT raw FROM envelope WHERE id = ?"
# Positions have no gaps, so their sum counts the envelopes without reading one.
_COUNTS = "SELECT count(*), coalesce(sum(position), 0), coalesce(sum(bytes), 0) FROM space"

_HeadRow = tuple[DeviceKey, BatchSeq, EnvelopeHash, int]


class Reading:
    """A read-only connection to the relay's file. For one thread at a time."""

    def __init__(self, path: str, *, vfs: str = "") -> None:
        self._path = path
        with storage_errors(path):
            self._connection = connect(path, is_read_only=True, vfs=vfs)
            self.birthday = Birthday(self._connection.execute("SELECT birthday FROM relay").get)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def counts(self) -> Counts:
        """Count what is there."""
        with storage_errors(self._path):
            return Counts(*self._connection.execute(_COUNTS).get)

    def admit(self, space: SpaceId) -> Admitted:
        """Give a space's position and heads. One never heard of is empty, and takes no room until it holds something."""
        with self._snapshot():
            row = self._connection.execute(_SPACE, (space,)).get
            if row is None:
                return Admitted(Position(0), VersionVector())
            number, position = row
            heads = {
                DeviceKey(key): (Head(batch_seq, EnvelopeHash(hashed)),)
                for key, batch_seq, hashed, _ in self._connection.execute(_HEADS, (number,))
            }
            return Admitted(Position(position), VersionVector(heads))

    def prove(self, space: SpaceId, heads: VersionVector) -> Proved:
        """Find how far heads prove each chain to be held: an entry proves all before it if the hash there is ours.

        Costs two look-ups a device of the space.
        """
        with self._snapshot():
            row = self._connection.execute(_SPACE, (space,)).get
            if row is None:
                return Proved(Position(0), {})
            number, position = row
            seq_by_device: dict[DeviceKey, int] = {}
            first_lacking = position + 1
            for row in self._connection.execute(_HEADS, (number,)).fetchall():
                key, batch_seq, hashed, device = cast(_HeadRow, row)
                proved = self._proved(device, Head(batch_seq, hashed), heads.get(key, ()))
                if proved:
                    seq_by_device[key] = proved
                if proved < batch_seq:
                    at = self._connection.execute(_ID_AT, (device, proved + 1)).get
                    first_lacking = min(first_lacking, at - (number << POSITION_BITS))
            return Proved(Position(first_lacking - 1), seq_by_device)

    def page(self, space: SpaceId, page: ReadPage) -> PageRead:
        """Read on after a position, up to the bytes asked for and at least one envelope."""
        with self._snapshot():
            row = self._connection.execute(_SPACE, (space,)).get
            number, position = row or (0, 0)
            base = number << POSITION_BITS
            after, end = base + page.after, base + position
            entries: list[tuple[Position, bytes]] = []
            until, size, seen = after, 0, 0
            for row_id, raw in self._rows(after, end, page.seq_by_device):
                if raw is not None:
                    if entries and (size + len(raw) > page.bytes_max or len(entries) == FRAME_ENVELOPES_MAX):
                        break
                    entries.append((Position(row_id - base), raw))
                    size += len(raw)
                until, seen = row_id, seen + 1
            # The loop may have ended because the scan did: then `until` is the last row looked at, and there is more.
            assert until <= end or seen == 0
            reached = Position(until - base)
            return PageRead(page.walk, tuple(entries), reached, reached >= position)

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """See one commit's state for the length of the block."""
        with storage_errors(self._path), read_transaction(self._connection):
            yield

    def _rows(self, after: int, end: int, seq_by_device: Mapping[DeviceKey, int]) -> Iterator[tuple[int, bytes | None]]:
        """Give each row's id, with its bytes unless the device holds them."""
        if not seq_by_device:
            yield from self._connection.execute(_ROWS, (after, end, FRAME_ENVELOPES_MAX))
            return
        for row_id, key, batch_seq in self._connection.execute(_PLACES, (after, end, SCAN_ROWS_MAX)):
            is_held = batch_seq <= seq_by_device.get(key, 0)
            yield row_id, None if is_held else self._connection.execute(_RAW, (row_id,)).get

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
