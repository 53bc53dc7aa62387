"""The floor: the same rows, inserted by plain SQLite through apsw with the engine's own settings, and nothing else.

It keeps no log, signs nothing, can take nothing back: nobody can be faster on this machine with this SQLite.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import apsw

from bench import sample
from driftlog._core.ids import HASH_BYTES, KEY_BYTES
from driftlog._sqlite.connection import CACHE_KIB, PAGE_BYTES, Durability
from driftlog._sqlite.wal import WAL_BYTES
from driftlog._store import schema


def _connected(path: Path, durability: Durability, *, page_bytes: int | None = None) -> apsw.Connection:
    """Connect with the engine's settings, and make the sample's table as the engine does."""
    connection = apsw.Connection(str(path))
    pragma = connection.pragma
    if page_bytes is not None:
        pragma("page_size", page_bytes)
    pragma("journal_mode", "wal")
    pragma("synchronous", "full" if durability == "full" else "normal")
    pragma("wal_autocheckpoint", WAL_BYTES // PAGE_BYTES)
    pragma("temp_store", "memory")
    pragma("cache_size", -CACHE_KIB)
    connection.execute(f"{sample.TABLE}, WITHOUT ROWID")
    return connection


class Floor:
    """A database with the sample's table, WITHOUT ROWID as the engine makes it."""

    def __init__(self, path: Path, durability: Durability) -> None:
        self._connection = _connected(path, durability)
        self._count = 0

    def insert_one(self) -> int:
        """Insert a row in a transaction of its own."""
        self._connection.execute(sample.INSERT, sample.row(self._count))
        self._count += 1
        return 1

    def insert(self, rows: int) -> int:
        """Insert rows in one transaction, by one `execute` each: `executemany` would leave out what any app has to do."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        for number in range(self._count, self._count + rows):
            execute(sample.INSERT, sample.row(number))
        execute("COMMIT")
        self._count += rows
        return rows

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


class LogFloor:
    """The two rows that an event is, in the engine's own tables and pages, written by plain SQLite."""

    def __init__(self, path: Path) -> None:
        self._connection = _connected(path, "relaxed", page_bytes=schema.PAGE_BYTES)
        schema.create(self._connection)

    def insert_each(self, stamps: Iterable[int], prefix: str) -> int:
        """Insert an event of each of these stamps in a transaction of its own."""
        return sum(self.insert([stamp], prefix) for stamp in stamps)

    def insert(self, stamps: Iterable[int], prefix: str) -> int:
        """Insert events in one transaction; their rows in the sample's table lie in order of stamps behind a prefix."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        inserted = 0
        for stamp in stamps:
            execute(sample.INSERT, (f"{prefix}-{stamp:020}", sample.TEXT))
            execute(_INSERT_EVENT, (stamp, *_EVENT))
            inserted += 1
        execute("COMMIT")
        return inserted

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


_INSERT_EVENT: Final = "INSERT INTO driftlog_log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_EVENT: Final = (
    bytes(KEY_BYTES),
    bytes(HASH_BYTES),
    1_700_000_000_000,
    "TodoAdded",
    1,
    bytes(54),
    0,
    None,
    bytes(21),
    None,
)
"""What the sample's event has in the log besides its stamp, as long as it is there."""
