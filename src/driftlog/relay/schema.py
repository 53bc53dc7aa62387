"""The relay's one SQLite file: its tables, and what is refused instead of misread."""

import re
from contextlib import closing
from functools import cache
from typing import Final

import apsw

from driftlog._core.ids import BIRTHDAY_BYTES
from driftlog._sqlite.connection import connect
from driftlog._sqlite.transactions import write_transaction
from driftlog._sqlite.wal import abandon
from driftlog.errors import NewerFormat, NotADriftlogFile
from driftlog.relay.damage import damaged, opening_errors

APPLICATION_ID: Final = 0x44726C72
"""`Drlr`: tells a relay's file from a device's, and both from everybody else's."""

FORMAT: Final = 1

# As bytes: a name that is no text any more must be compared, too.
_SCHEMA: Final = "SELECT type, CAST(name AS BLOB), CAST(tbl_name AS BLOB), CAST(sql AS BLOB) FROM sqlite_schema"
_BIRTHDAYS: Final = "SELECT birthday FROM relay LIMIT 2"
_LAST_ID: Final = "SELECT max(id) FROM envelope WHERE id <= ?"

POSITION_BITS: Final = 40
"""A space's envelopes are neighbours in the table: the row's id is the space's number above the position. 2**40 positions
for each of 2**23 spaces; an index over (space, position) would cost 20 bytes and one page write an envelope."""

SPACES: Final = 1 << (63 - POSITION_BITS)

TABLES: Final = """
CREATE TABLE relay (
  birthday BLOB NOT NULL            -- drawn when the file was made: another birthday, another relay
) STRICT;

CREATE TABLE space (
  space    INTEGER PRIMARY KEY,
  id       BLOB NOT NULL UNIQUE,
  genesis  BLOB NOT NULL,
  position INTEGER NOT NULL,        -- the highest given; positions have no gaps
  bytes    INTEGER NOT NULL         -- of all its envelopes, for the quota
) STRICT;

CREATE TABLE device (               -- also the heads: a relay holds one envelope at each place of a chain
  device    INTEGER PRIMARY KEY,
  space     INTEGER NOT NULL REFERENCES space,
  key       BLOB NOT NULL,
  batch_seq INTEGER NOT NULL,
  hash      BLOB NOT NULL,
  UNIQUE (space, key)
) STRICT;

CREATE TABLE envelope (
  id        INTEGER PRIMARY KEY,    -- (space << 40) + position
  device    INTEGER NOT NULL REFERENCES device,
  batch_seq INTEGER NOT NULL,
  hash      BLOB NOT NULL,
  raw       BLOB NOT NULL,          -- as received; last, so that the columns before it are read without it
  UNIQUE (device, batch_seq)
) STRICT;

CREATE TABLE fork (                 -- proof that a device key signed two envelopes for one place
  hash      BLOB PRIMARY KEY,
  device    INTEGER NOT NULL REFERENCES device,
  batch_seq INTEGER NOT NULL,
  raw       BLOB NOT NULL
) STRICT;
"""


def open_file(path: str, birthday: bytes, *, vfs: str = "") -> apsw.Connection:
    """Open the relay's file, or make it, born with the given birthday. Raises `UnusableFile` and `StorageError`."""
    with opening_errors(path):
        # Asked before anything is set: turning a stranger's file into a WAL database would be a change to it.
        connection = connect(path, vfs=vfs, identify=lambda opened: refuse_foreign(opened, path))
        try:
            _make_if_new(connection, birthday)
        except BaseException:
            abandon(connection)
            raise
        return connection


def _make_if_new(connection: apsw.Connection, birthday: bytes) -> None:
    with write_transaction(connection):
        if is_unmade(connection):
            connection.execute(TABLES)
            connection.execute("INSERT INTO relay VALUES (?)", (birthday,))
            connection.pragma("user_version", FORMAT)
            connection.pragma("application_id", APPLICATION_ID)


def is_unmade(connection: apsw.Connection) -> bool:
    """Tell whether a file that is not refused is still to become a relay's: it is empty, or SQLite's header alone."""
    return bool(connection.pragma("application_id") == 0)


def read_birthday(connection: apsw.Connection, path: str) -> bytes:
    """Give the birthday in a relay's file, or raise `Corrupt`."""
    rows = connection.execute(_BIRTHDAYS).fetchall()
    if len(rows) != 1 or type(rows[0][0]) is not bytes or len(rows[0][0]) != BIRTHDAY_BYTES:
        raise damaged(path, "it holds no birthday")
    birthday: bytes = rows[0][0]
    return birthday


def base_of(connection: apsw.Connection, path: str, number: object, position: object) -> int:
    """Give the id that a space's positions count from, or raise `Corrupt` if its highest is not its last envelope's."""
    if type(number) is int and 0 < number < SPACES and type(position) is int and position > 0:
        last = connection.execute(_LAST_ID, (((number + 1) << POSITION_BITS) - 1,)).get
        if last == (number << POSITION_BITS) + position:
            return number << POSITION_BITS
    raise damaged(path, "a space's last envelope is not where it was")


@cache
def _tables() -> frozenset[tuple[object, ...]]:
    with closing(apsw.Connection(":memory:")) as connection:
        connection.execute(TABLES)
        return _schema_of(connection)


def _schema_of(connection: apsw.Connection) -> frozenset[tuple[object, ...]]:
    # SQLite keeps comments, too: a file that was made when they read otherwise has the same tables.
    rows = connection.execute(_SCHEMA)
    return frozenset((*names, sql and _without_comments(sql)) for *names, sql in rows)


def _without_comments(sql: bytes) -> bytes:
    return b" ".join(re.sub(rb"--[^\n]*", b"", sql).split())


def refuse_foreign(connection: apsw.Connection, path: str) -> None:
    """Raise `UnusableFile` for what is no relay's file, and `Corrupt` for one whose tables are others by now."""
    application = connection.pragma("application_id")
    version = connection.pragma("user_version")
    has_tables = connection.execute("SELECT count(*) FROM sqlite_schema").get > 0
    if application != APPLICATION_ID and (application != 0 or has_tables):
        raise NotADriftlogFile(f"{path} is not a relay's database; choose another path, it was left as it is")
    if application == APPLICATION_ID and version > FORMAT:
        raise NewerFormat(f"{path} has format {version}, this Driftlog reads up to {FORMAT}; update it")
    if application == APPLICATION_ID:
        if version < 1:
            raise damaged(path, f"its format, {version}, is none")
        # An operator may have added an index; what is ours must be as it was made.
        if not _tables() <= _schema_of(connection):
            raise damaged(path, "its tables are not as they were made")
        read_birthday(connection, path)
