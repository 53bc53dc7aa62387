"""The floor: the same rows, inserted by plain SQLite through apsw with the engine's own settings, and nothing else.

It keeps no log, signs nothing, can take nothing back: nobody can be faster on this machine with this SQLite.
"""

from pathlib import Path

import apsw

from bench import sample
from driftlog._sqlite.connection import AUTOCHECKPOINT_BYTES, CACHE_KIB, PAGE_BYTES, Durability


class Floor:
    """A database with the sample's table, WITHOUT ROWID as the engine makes it."""

    def __init__(self, path: Path, durability: Durability) -> None:
        self._connection = apsw.Connection(str(path))
        pragma = self._connection.pragma
        pragma("journal_mode", "wal")
        pragma("synchronous", "full" if durability == "full" else "normal")
        pragma("wal_autocheckpoint", AUTOCHECKPOINT_BYTES // PAGE_BYTES)
        pragma("temp_store", "memory")
        pragma("cache_size", -CACHE_KIB)
        self._connection.execute(f"{sample.TABLE}, WITHOUT ROWID")
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
