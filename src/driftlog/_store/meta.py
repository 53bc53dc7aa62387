"""The small facts of a space's file: app, genesis, keys, the view's maker, and how far each relay was read."""

import struct
from typing import Literal, NamedTuple

import apsw

from driftlog._core.envelope import BATCH_SEQ_MAX
from driftlog._core.ids import NO_ENVELOPE, BatchSeq, Birthday, EpochId
from driftlog._core.limits import HLC_MAX
from driftlog._core.version_vector import Head
from driftlog._sqlite.rows import raw_rows
from driftlog.errors import Corrupt

_GET = "SELECT value FROM driftlog_meta WHERE key = ?"
_SET = "INSERT INTO driftlog_meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
_EPOCHS = "SELECT id, key FROM driftlog_epoch"
_ADD_EPOCH = "INSERT INTO driftlog_epoch (id, key) VALUES (?, ?)"
_RELAY = "SELECT birthday, cursor, confirmed_seq, refused, refused_reason FROM driftlog_relay WHERE url = ?"
_RELAYS = "SELECT url, birthday, cursor, confirmed_seq, refused, refused_reason FROM driftlog_relay ORDER BY url"
_SET_RELAY = """
INSERT INTO driftlog_relay (url, birthday, cursor, confirmed_seq, refused, refused_reason) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (url) DO UPDATE SET
  birthday = excluded.birthday, cursor = excluded.cursor, confirmed_seq = excluded.confirmed_seq,
  refused = excluded.refused, refused_reason = excluded.refused_reason
"""
_CONFIRMED = "SELECT coalesce(max(confirmed_seq), 0) FROM driftlog_relay"
_BRANCH = struct.Struct(">Q32sQ")
# Of each table by itself: asked of `driftlog_entry`, SQLite reads all of the log.
_COUNT_STATES = """
SELECT state, sum(count) FROM (
  SELECT state, count(*) AS count FROM driftlog_log WHERE state <> 0 GROUP BY state UNION ALL
  SELECT state, count(*) FROM driftlog_tie WHERE state <> 0 GROUP BY state
) GROUP BY state
"""


Fact = Literal["app", "comparisons", "device", "effects", "genesis", "local_tables", "own_branch", "view"]


class Branch(NamedTuple):
    """The end of the chain that a device writes: its head, None before the first envelope, and the stamp before which all
    its events are in envelopes."""

    head: Head | None
    last_hlc: int


class RelayMark(NamedTuple):
    """How far this device and a relay have come with each other."""

    birthday: Birthday
    cursor: int
    confirmed_seq: int
    """The last own envelope that the relay is known to hold durably."""
    refused: int
    """Envelopes from it that were not let in here."""
    refused_reason: str | None
    """Why the last of them was not."""


class Meta:
    """Reads and writes the small facts, within the caller's transaction."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def get(self, key: Fact) -> bytes | None:
        """Give a fact, or None."""
        value: bytes | None = self._connection.execute(_GET, (key,)).get
        return value

    def set(self, key: Fact, value: bytes) -> None:
        """Set a fact."""
        self._connection.execute(_SET, (key, value))

    def epochs(self) -> dict[EpochId, bytes]:
        """Give the keys of all epochs this device may read."""
        return {EpochId(epoch): key for epoch, key in raw_rows(self._connection, _EPOCHS)}

    def add_epoch(self, epoch: EpochId, key: bytes) -> None:
        """Keep an epoch's key."""
        self._connection.execute(_ADD_EPOCH, (epoch, key))

    def own_branch(self) -> Branch:
        """Give the end of the chain that this device goes on writing. Raises `Corrupt`."""
        value = self.get("own_branch")
        if value is None:
            return Branch(None, 0)
        if len(value) != _BRANCH.size:
            raise Corrupt(f"the end of this device's chain is damaged ({len(value)} bytes); run repair on the file")
        batch_seq, hash_, last_hlc = _BRANCH.unpack(value)
        if batch_seq > BATCH_SEQ_MAX or last_hlc > HLC_MAX:
            raise Corrupt(
                f"the end of this device's chain is damaged ({batch_seq}, {last_hlc}); run repair on the file"
            )
        return Branch(Head(batch_seq, hash_) if batch_seq else None, last_hlc)

    def set_own_branch(self, branch: Branch) -> None:
        """Set the end of the chain that this device goes on writing."""
        head = branch.head or Head(BatchSeq(0), NO_ENVELOPE)
        self.set("own_branch", _BRANCH.pack(*head, branch.last_hlc))

    def relay(self, url: str) -> RelayMark | None:
        """Give the mark of a relay, or None before the first conversation with it."""
        row = next(raw_rows(self._connection, _RELAY, (url,)), None)
        return RelayMark(*row) if row else None

    def relays(self) -> dict[str, RelayMark]:
        """Give the marks of all relays."""
        return {row[0]: RelayMark(*row[1:]) for row in raw_rows(self._connection, _RELAYS)}

    def set_relay(self, url: str, mark: RelayMark) -> None:
        """Set the mark of a relay."""
        self._connection.execute(_SET_RELAY, (url, *mark))

    def confirmed_seq(self) -> int:
        """Give the last own envelope that some relay is known to hold durably, 0 for none."""
        seq: int = self._connection.execute(_CONFIRMED).get
        return seq

    def count_states(self) -> dict[int, int]:
        """Count the log's entries by state, leaving out those that are applied."""
        return dict(raw_rows(self._connection, _COUNT_STATES))
