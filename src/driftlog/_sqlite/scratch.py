"""A database in memory that has certain tables and nothing else: there SQLite says what a statement would mean."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import apsw

from driftlog._sqlite.connection import connect


@contextmanager
def scratch(statements: Sequence[str]) -> Iterator[apsw.Connection]:
    """Make it by these statements, with the settings of every other database, for the length of a `with` block."""
    connection = connect(":memory:")
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        for statement in statements:
            connection.execute(statement)
        yield connection
    finally:
        connection.close()
