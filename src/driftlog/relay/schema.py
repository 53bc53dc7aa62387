"""The relay's one SQLite file: its tables, and what is refused instead of misread."""

from typing import Final

import apsw

from driftlog._sqlite.connection import connect, storage_errors, write_transaction
from driftlog.errors import NewerFormat, NotADriftlogFile

APPLICATION_ID: Final = 0x44726C72
"""`Drlr`: tells a relay's file from a device's, and both from everybody else's."""

FORMAT: Final = 1

POSITION_BITS: Final = 40
"""A space's envelopes are neighbours in the table: the row's id is the space's number above the position. 2**40 positions
for each of 2**23 spaces; an index over (space, position) would cost 20 bytes and one page write an envelope."""

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
    with storage_errors(path):
        # Asked before anything is set: turning a stranger's file into a WAL database would be a change to it.
        connection = connect(path, vfs=vfs, identify=lambda opened: _refuse_foreign(opened, path))
        with write_transaction(connection):
            if connection.pragma("application_id") == 0:
                connection.execute(TABLES)
                connection.execute("INSERT INTO relay VALUES (?)", (birthday,))
                connection.pragma("user_version", FORMAT)
                connection.pragma("application_id", APPLICATION_ID)
        return connection


def _refuse_foreign(connection: apsw.Connection, path: str) -> None:
    application = connection.pragma("application_id")
    version = connection.pragma("user_version")
    has_tables = connection.execute("SELECT count(*) FROM sqlite_schema").get > 0
    if application != APPLICATION_ID and (application != 0 or has_tables):
        raise NotADriftlogFile(f"{path} is not a relay's database; choose another path, it was left as it is")
    if application == APPLICATION_ID and version > FORMAT:
        raise NewerFormat(f"{path} has format {version}, this Driftlog reads up to {FORMAT}; update it")
