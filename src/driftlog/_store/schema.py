"""The engine's own tables in a space's file, and how a file is told from one that is something else.

Every table is STRICT and begins with `driftlog_`, a name no app table can take. Layout in `docs/format.md`.
"""

from pathlib import Path
from typing import Final

import apsw

from driftlog.errors import NewerFormat, NotADriftlogFile, UnusableFile

APPLICATION_ID: Final = 0x44726674
"""`Drft`: SQLite's own place for saying whose file it is."""

FORMAT: Final = 2

PAGE_BYTES: Final = 2048
"""Each commit writes whole pages to the WAL, and an append changes two. Half SQLite's usual size makes a single append
some 13 % cheaper; a quarter of it would push rows of 250 bytes into pages of their own (decision 12)."""

CREATE: Final = """
-- What the file is: app, genesis, this device, the fingerprint of the app the view was made by.
CREATE TABLE driftlog_meta (
  key TEXT PRIMARY KEY,
  value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Keys of the epochs this device may read.
CREATE TABLE driftlog_epoch (
  id BLOB PRIMARY KEY,
  key BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- The log, in the total order. Its key is the stamp alone, because SQLite appends to a rowid table without splitting
-- pages: one page to write for most appends. An event whose stamp another one bears already lies in `driftlog_tie`;
-- that is the whole of the identity, so nothing can be in the two of them twice. `version` is the marked one.
CREATE TABLE driftlog_log (
  hlc INTEGER PRIMARY KEY,
  device BLOB NOT NULL,
  hash BLOB NOT NULL,
  wall_ms INTEGER NOT NULL,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  payload BLOB NOT NULL,
  state INTEGER NOT NULL,
  reason TEXT,
  undo BLOB,
  touch BLOB
) STRICT;
CREATE TABLE driftlog_tie (
  hlc INTEGER NOT NULL,
  device BLOB NOT NULL,
  hash BLOB NOT NULL,
  wall_ms INTEGER NOT NULL,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  payload BLOB NOT NULL,
  state INTEGER NOT NULL,
  reason TEXT,
  undo BLOB,
  touch BLOB,
  PRIMARY KEY (hlc, device, hash)
) STRICT, WITHOUT ROWID;
-- Nearly every entry is applied (0); the others are few, counted and listed.
CREATE INDEX driftlog_log_state ON driftlog_log (state) WHERE state <> 0;
CREATE INDEX driftlog_tie_state ON driftlog_tie (state) WHERE state <> 0;

-- Unknown events of critical types: one is enough to stop this device from appending, and there is nearly never any.
CREATE INDEX driftlog_log_critical ON driftlog_log (name, version) WHERE state <> 0 AND state = 3 AND version > 32767;
CREATE INDEX driftlog_tie_critical ON driftlog_tie (name, version) WHERE state <> 0 AND state = 3 AND version > 32767;

-- The engine's own events, such as undos: few, and all of them are needed to know which events the fold skips.
CREATE INDEX driftlog_log_control ON driftlog_log (name) WHERE name >= 'driftlog.' AND name < 'driftlog/';
CREATE INDEX driftlog_tie_control ON driftlog_tie (name) WHERE name >= 'driftlog.' AND name < 'driftlog/';

CREATE VIEW driftlog_entry AS SELECT * FROM driftlog_log UNION ALL SELECT * FROM driftlog_tie;

CREATE VIEW driftlog_rejected AS
  SELECT hlc, device, hash, wall_ms, name, version & 32767 AS version, reason FROM driftlog_entry
  WHERE state <> 0 AND state = 1;

-- Envelopes as they were received or sealed, to serve others. `is_chained` is 0 while a predecessor is missing.
CREATE TABLE driftlog_envelope (
  id INTEGER PRIMARY KEY,
  device BLOB NOT NULL,
  batch_seq INTEGER NOT NULL,
  hash BLOB NOT NULL,
  last_hlc INTEGER NOT NULL,
  void_count INTEGER NOT NULL,
  is_chained INTEGER NOT NULL,
  raw BLOB NOT NULL
) STRICT;
CREATE INDEX driftlog_envelope_place ON driftlog_envelope (device, batch_seq);
CREATE INDEX driftlog_envelope_void ON driftlog_envelope (void_count) WHERE void_count > 0;
CREATE INDEX driftlog_envelope_waiting ON driftlog_envelope (is_chained) WHERE is_chained = 0;

-- The end of every chain; a device with two rows has forked. `is_told` is 0 until an own envelope has named the head.
CREATE TABLE driftlog_head (
  device BLOB NOT NULL,
  hash BLOB NOT NULL,
  batch_seq INTEGER NOT NULL,
  last_hlc INTEGER NOT NULL,
  is_told INTEGER NOT NULL,
  PRIMARY KEY (device, hash)
) STRICT, WITHOUT ROWID;

-- Relays this device has talked to: how far it has read, which of its own envelopes are durable there, and what it was
-- sent from there that could not be let in.
CREATE TABLE driftlog_relay (
  url TEXT PRIMARY KEY,
  birthday BLOB NOT NULL,
  cursor INTEGER NOT NULL,
  confirmed_seq INTEGER NOT NULL,
  refused INTEGER NOT NULL,
  refused_reason TEXT
) STRICT, WITHOUT ROWID;
"""


def create(connection: apsw.Connection) -> None:
    """Make the engine's tables in an empty database, within the caller's transaction."""
    connection.execute(CREATE)
    connection.pragma("application_id", APPLICATION_ID)
    connection.pragma("user_version", FORMAT)


def is_empty(connection: apsw.Connection) -> bool:
    """Tell whether the database holds nothing at all, as a file that was just made."""
    return not connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_schema)").get and not connection.pragma(
        "application_id"
    )


def identify(connection: apsw.Connection, path: str | Path) -> bool:
    """Raise unless the file is empty or a space that this Driftlog can read; tell whether it is one. Changes nothing."""
    if is_empty(connection):
        return False
    if connection.pragma("application_id") != APPLICATION_ID:
        raise NotADriftlogFile(f"{path} is an SQLite database, but not a Driftlog space; choose another path")
    version = connection.pragma("user_version")
    if version == 1:
        raise UnusableFile(
            f"{path} has format 1, which no release of Driftlog wrote; join the space again in a new file, this one was "
            "left as it is"
        )
    if not isinstance(version, int) or version > FORMAT:
        raise NewerFormat(
            f"{path} has format {version}, this Driftlog reads up to {FORMAT}; update Driftlog, the file was left as it is"
        )
    return True
