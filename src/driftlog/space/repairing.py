"""Verifying a space's file, and mending one from what in it proves itself; the rest comes again from relays and devices.

A repair makes the file anew in memory and writes it over the old one in a single transaction, so it may be cut off anywhere
and begun again, and other processes that have the file open go on. Where the old file cannot even be opened, its header is
mended in a copy that is read instead, and the new file takes its place; the old one is kept beside it.

The end of this device's own chain is kept even where its envelopes are lost: a number is never given twice. Until they have
come back, nothing is sealed.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import apsw

from driftlog._core.envelope import parse_envelope
from driftlog._core.genesis import Genesis
from driftlog._core.names import is_name
from driftlog._core.wire import Malformed
from driftlog._crypto import keys as crypto_keys
from driftlog._crypto.keys import SpaceKeys
from driftlog._sqlite.connection import connect
from driftlog._sqlite.rows import raw_rows
from driftlog._sqlite.storage_errors import storage_errors
from driftlog._sqlite.wal import leave
from driftlog._store import schema
from driftlog._store.damage import Finding
from driftlog._store.facts import DAMAGED_BITS_MAX, bits_differing, read_facts
from driftlog._store.meta import Meta
from driftlog._store.program import Program
from driftlog._store.restoring import Context, Restored, restore
from driftlog._store.verifying import has_sound_versions, verify
from driftlog.errors import Closed, Corrupt, MissingDeviceKey, NewerFormat, OtherApp, ReadOnly, StorageError
from driftlog.space.engine import Engine
from driftlog.space.exchange import Exchange
from driftlog.space.files import read_seed

_DAMAGED: Final = "-damaged"
_HEADER: Final = (
    (0, b"SQLite format 3\0"),
    (18, b"\2\2\0\x40\x20\x20"),  # WAL, no reserved bytes, the three fractions that never differ
    (44, b"\0\0\0\4"),
    (56, b"\0\0\0\1"),  # UTF-8
    (60, schema.FORMAT.to_bytes(4, "big")),
    (68, schema.APPLICATION_ID.to_bytes(4, "big")),
)
"""What the header of every space's file holds, by place, besides the page size."""
_SCHEMA: Final = "SELECT type, name, tbl_name, sql FROM sqlite_schema"
_SET_SCHEMA: Final = "UPDATE sqlite_schema SET type = ?, name = ?, tbl_name = ?, sql = ? WHERE rowid = ?"
_LEAVE_OUT: Final = """
DELETE FROM sqlite_schema WHERE name = ?1 OR (?1 LIKE 'sqlite_autoindex_%' AND tbl_name = (
  SELECT tbl_name FROM sqlite_schema WHERE name = ?1
))
"""
ENTRIES_LEFT_OUT_MAX: Final = 10
_SOME_ENVELOPES: Final = "SELECT raw FROM driftlog_envelope LIMIT 10"
FORMAT_EVER_MAX: Final = 100
_PAGE_SIZES: Final = {1 << power for power in range(9, 16)}


def verify_space(engine: Engine) -> list[Finding]:
    """Read all of an open space's file, and say what in it is not as it should be."""
    failure: Exception | None = None
    if not engine.is_read_only:
        try:
            with engine.writing():
                pass  # held events whose time has come take their place with whatever is written
        except Closed:
            raise
        except Exception as error:  # noqa: BLE001 - damage shows itself in any way; it is raised again if nothing explains it
            failure = error
    with storage_errors(engine.path), engine.reader.apart() as connection:
        findings = verify(connection, _context(engine.program, engine.keys, engine.exchange, engine.clock()))
    if failure is not None and not findings:
        raise failure
    return findings


def repair_space(program: Program, path: Path, *, clock: Callable[[], int]) -> list[Finding]:
    """Mend the file at `path`, and give what was found; it is left as it is if nothing was."""
    seed = read_seed(path)
    with storage_errors(str(path)), _readable(path, program) as (source, is_copy):
        _check_format(source, path)
        keys = _keys(source, path, seed)
        context = _context(program, keys, Exchange(keys, os.urandom), clock())
        findings = verify(source, context)
        if is_copy:
            findings.insert(
                0, Finding("structure", "SQLite cannot read the tables of the file", "repair makes a new one")
            )
        findings += _wrong_names(Meta(source), program, keys, path)
        if not findings:
            return []
        restored = restore(source, context)
        try:
            _forget_cursors(restored)
            _set_names(restored, program, keys)
            try:
                _write_over(path, restored.connection)
            except (apsw.NotADBError, apsw.CorruptError, apsw.CantOpenError, apsw.SQLError):
                _replace(path, restored.connection)
        finally:
            restored.connection.close()
        return findings


def _context(program: Program, keys: SpaceKeys, exchange: Exchange, now_ms: int) -> Context:
    return Context(program, keys.space, keys.device_key, now_ms, exchange.open, exchange.seal)


def _forget_cursors(restored: Restored) -> None:
    """Read relays again from their beginning: what proves nothing by itself may be what was damaged."""
    restored.connection.execute("UPDATE driftlog_relay SET cursor = 0")


def _wrong_names(meta: Meta, program: Program, keys: SpaceKeys, path: Path) -> list[Finding]:
    """Say which names are not what they must be. Raises `OtherApp` if the app's is one that another app may have."""
    findings: list[Finding] = []
    if meta.epochs().get(keys.epoch) != keys.epoch_key:
        findings.append(Finding("fact", "the epoch's key has another epoch's name", "repair gives it its own"))
    stored = meta.get("app")
    if stored != program.name.encode():
        name = (stored or b"").decode(errors="surrogateescape")
        if is_name(name):
            raise OtherApp(f"{path} belongs to the app {name!r}, this is {program.name!r}; repair it with that app")
        findings.append(Finding("fact", "what should be the app's name is none", "repair writes that of this app"))
    return findings


def _set_names(restored: Restored, program: Program, keys: SpaceKeys) -> None:
    """Write names that prove nothing by themselves: the epoch key's is what the genesis says, the app's is who repairs."""
    restored.connection.execute("DELETE FROM driftlog_epoch WHERE key = ? OR id = ?", (keys.epoch_key, keys.epoch))
    meta = Meta(restored.connection)
    meta.add_epoch(keys.epoch, keys.epoch_key)
    meta.set("app", program.name.encode())


@contextmanager
def _readable(path: Path, program: Program) -> Iterator[tuple[apsw.Connection, bool]]:
    """Open the file, or a copy of it whose header is mended; says which."""
    if not path.exists():
        raise StorageError(f"{path} is not there; check the path")
    try:
        connection = _reading(path, program)
    except (apsw.NotADBError, apsw.CorruptError, apsw.CantOpenError, apsw.ReadOnlyError):
        with tempfile.TemporaryDirectory(dir=path.parent) as directory:
            copy = Path(directory) / path.name
            copy.write_bytes(_with_header(path.read_bytes()))
            wal = path.with_name(path.name + "-wal")
            if wal.exists():
                shutil.copy(wal, copy.with_name(wal.name))
            _mend_schema(copy, program)
            connection = _reading_what_is_left(copy, program)
            try:
                yield connection, True
            finally:
                connection.close()
        return
    try:
        yield connection, False
    finally:
        leave(connection)


def _reading(path: Path, program: Program, *, is_copy: bool = False) -> apsw.Connection:
    _check_header(path)
    # Its own settings, not ours: what is damaged may be what they would look at.
    connection = apsw.Connection(str(path))
    try:
        connection.execute("PRAGMA trusted_schema = 0")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        _check_schema(connection, program, must_be_all=not is_copy)
    except (UnicodeDecodeError, apsw.SQLError) as error:
        leave(connection)
        raise apsw.CorruptError(str(error)) from error
    except BaseException:
        leave(connection)
        raise
    return connection


def _check_header(path: Path) -> None:
    """Raise for what would make SQLite call a file read-only that is not."""
    if not has_sound_versions(path):
        raise apsw.NotADBError("its header names a way of writing that there is not")


def _reading_what_is_left(path: Path, program: Program) -> apsw.Connection:
    """Open a copy, and leave out what SQLite cannot find the beginning of."""
    for _ in range(ENTRIES_LEFT_OUT_MAX):
        try:
            return _reading(path, program, is_copy=True)
        except apsw.CorruptError as error:
            named = re.search(r"malformed database schema \((.+?)\)", str(error))
            if named is None:
                raise
        with closing(apsw.Connection(str(path))) as connection:
            connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(_LEAVE_OUT, (named[1],))
    raise apsw.CorruptError("too many tables cannot be found")


def _schema(program: Program) -> dict[str, tuple[Any, ...]]:
    """Give what SQLite says of the tables as they should be, by name."""
    with closing(connect(":memory:")) as reference:
        schema.create(reference)
        for statement in (*program.tables.statements, *program.local.statements):
            reference.execute(statement)
        return {str(row[1]): row for row in raw_rows(reference, _SCHEMA)}


def _check_schema(connection: apsw.Connection, program: Program, *, must_be_all: bool) -> None:
    """Raise unless the engine's own tables are as they should be: else nothing can be asked of them."""
    own = {name: row for name, row in _schema(program).items() if name.startswith("driftlog_")}
    there = {str(row[1]): row for row in raw_rows(connection, _SCHEMA)}
    if not must_be_all:
        own = {name: row for name, row in own.items() if name in there}
    if any(there.get(name) != row for name, row in own.items()):
        raise apsw.CorruptError("the engine's tables are not as they were made")


def _mend_schema(path: Path, program: Program) -> None:
    """Write the words of tables, indexes and views as they were made; where each begins is kept, whatever its name is."""
    should = _schema(program)
    with closing(apsw.Connection(str(path))) as connection:
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
        connection.execute("PRAGMA writable_schema = ON")
        try:
            there = [
                (row, name) for row, name in raw_rows(connection, "SELECT rowid, CAST(name AS BLOB) FROM sqlite_schema")
            ]
            rowid_by_name = {bytes(name or b"").decode(errors="replace"): row for row, name in there}
            nameless = [row for name, row in rowid_by_name.items() if name not in should]
            unmatched = [name for name in should if name not in rowid_by_name]
            for name, row in (*rowid_by_name.items(), *zip(unmatched, nameless, strict=False)):
                if name in should:
                    kind, _, table, sql = should[name]
                    words = (kind, name, table, sql, row)
                    connection.execute(_SET_SCHEMA, words)
        except (apsw.Error, UnicodeDecodeError):
            # Then it stays as it is, and whoever reads it says what is wrong.
            return


def _with_header(content: bytes) -> bytes:
    mended = bytearray(content)
    if int.from_bytes(mended[16:18], "big") not in _PAGE_SIZES:
        mended[16:18] = schema.PAGE_BYTES.to_bytes(2, "big")
    for at, value in _HEADER:
        mended[at : at + len(value)] = value
    pages = len(mended) // int.from_bytes(mended[16:18], "big")
    mended[28:32] = pages.to_bytes(4, "big")
    # The size counts only where these two agree.
    mended[92:96] = mended[24:28]
    return bytes(mended)


def _check_format(source: apsw.Connection, path: Path) -> None:
    """Raise for a file that a newer Driftlog may have written; a number beyond all that are to come is damage."""
    version = source.pragma("user_version")
    if isinstance(version, int) and schema.FORMAT < version <= FORMAT_EVER_MAX:
        raise NewerFormat(
            f"{path} has format {version}, this Driftlog reads up to {schema.FORMAT}; update it, then repair"
        )


def _keys(source: apsw.Connection, path: Path, seed: bytes) -> SpaceKeys:
    """Derive the keys, or say that what they are derived from is gone."""
    gone = f"{path} is damaged where it says which space it is; restore a backup, or join again from another device"
    try:
        facts = read_facts(source)
        epoch_keys = [key for (key,) in source.execute("SELECT key FROM driftlog_epoch").fetchall()]
        genesis = Genesis.decode(facts.get("genesis", b""))
    except (apsw.Error, Malformed, TypeError, UnicodeDecodeError) as error:
        raise Corrupt(gone) from error
    for key in epoch_keys:
        if isinstance(key, bytes) and crypto_keys.commitment(key) == genesis.epoch_commitment:
            keys = SpaceKeys.of(seed, genesis, key)
            _check_identity(source, path, keys, facts.get("device"), gone)
            return keys
    raise Corrupt(gone)


def _check_identity(source: apsw.Connection, path: Path, keys: SpaceKeys, noted: bytes | None, gone: str) -> None:
    """Raise unless the keys are this file's: a repair under another device's key would write in its name."""
    if noted == keys.device_key:
        return
    if noted is not None and bits_differing(noted, keys.device_key) <= DAMAGED_BITS_MAX:
        return  # the right key, and a note of it that was damaged
    try:
        spaces = {parse_envelope(raw).header.space for (raw,) in raw_rows(source, _SOME_ENVELOPES)}
    except (apsw.Error, Malformed, TypeError) as error:
        raise Corrupt(gone) from error
    if keys.space in spaces:
        raise MissingDeviceKey(f"the key file beside {path} is of another device; put back the one that belongs to it")
    raise Corrupt(gone)


def _write_over(path: Path, restored: apsw.Connection) -> None:
    """Write a database over a file, in one transaction."""
    _check_header(path)
    target = connect(path)
    try:
        if target.readonly("main"):
            raise ReadOnly(f"{path} cannot be written; check the permissions of the file and its directory")
        with target.backup("main", restored, "main") as backup:
            while not backup.done:
                backup.step()
    finally:
        target.close()


def _replace(path: Path, restored: apsw.Connection) -> None:
    """Put a new file in the place of one that cannot be opened, which is kept under another name."""
    new = path.with_name(path.name + "-repaired")
    new.unlink(missing_ok=True)
    target = connect(new, page_bytes=restored.pragma("page_size"))
    try:
        with target.backup("main", restored, "main") as backup:
            while not backup.done:
                backup.step()
    finally:
        target.close()
    for suffix in ("-wal", "-shm", ""):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.replace(path.with_name(path.name + _DAMAGED + suffix))
    new.replace(path)
