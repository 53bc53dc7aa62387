"""Everything in a space's file, compared with what its envelopes and own events say it should be (P6, P34).

Reads the whole file, and makes it anew in memory to compare with: costs that memory, and what opening every envelope and
a rebuild cost. What proves nothing by itself cannot be verified: local tables, how far relays were read, which heads were
told to others.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import apsw

from driftlog._sqlite.rows import raw_rows
from driftlog._store import schema
from driftlog._store.chain import Chains
from driftlog._store.critical import awaited_types
from driftlog._store.damage import KEPT, REBUILDS, Finding
from driftlog._store.log import Log
from driftlog._store.meta import Meta
from driftlog._store.restoring import Context, restore

_COMPARED: Final = {
    "driftlog_log": ("outcome", "hlc, state, reason, undo, touch", "the outcome of an event"),
    "driftlog_tie": ("outcome", "hlc, device, hash, state, reason, undo, touch", "the outcome of an event"),
    "driftlog_head": ("chain", "device, hash, batch_seq, last_hlc", "the end of a chain"),
    "driftlog_envelope": (
        "chain",
        "id, device, batch_seq, hash, last_hlc, void_count, is_chained",
        "the place of an envelope",
    ),
}
_SCHEMA: Final = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
_FACTS: Final = "SELECT key, value FROM driftlog_meta WHERE key IN ('app', 'genesis', 'device', 'own_branch', 'view')"
PROBLEMS_MAX: Final = 20
"""Of SQLite's own check: the first say where to look."""


def verify(source: apsw.Connection, context: Context) -> list[Finding]:
    """Read all of a file, in one read transaction of the caller's, and say what in it is not as it should be."""
    findings = [*_structure(source), *_paths(source)]
    restored = restore(source, context)
    try:
        findings += restored.findings
        for table, (part, columns, what) in _COMPARED.items():
            sql = f"SELECT {columns} FROM {table}"
            findings += _difference(source, restored.connection, sql, part, f"{what} ({table})")
        for declared in context.program.tables.tables:
            sql = declared.select_all_sql
            findings += _difference(source, restored.connection, sql, "view", f"a row of the table {declared.name}")
        findings += _difference(source, restored.connection, _SCHEMA, "schema", "a table, index or trigger")
        findings += _difference(source, restored.connection, _FACTS, "fact", "a fact about this device")
    finally:
        restored.connection.close()
    return findings


def _structure(source: apsw.Connection) -> Iterator[Finding]:
    marks = (source.pragma("application_id"), source.pragma("user_version"))
    if marks != (schema.APPLICATION_ID, schema.FORMAT):
        yield Finding("fact", f"the file says that it is something else ({marks})", "repair says what it is")
    if source.filename and not has_sound_versions(Path(source.filename)):
        yield Finding("structure", "the header lets nobody write the file", KEPT)
    try:
        said = [str(row[0]) for row in raw_rows(source, f"PRAGMA integrity_check({PROBLEMS_MAX})")]
    except apsw.Error as error:
        said = [f"{type(error).__name__}: {error}"]
    if said != ["ok"]:
        yield Finding("structure", f"SQLite finds the file damaged: {'; '.join(said)}", KEPT)


def has_sound_versions(path: Path) -> bool:
    """Tell whether the header says that the file is written with a journal or a WAL; an empty file says nothing."""
    with path.open("rb") as file:
        versions = file.read(20)[18:]
    return not versions or all(1 <= version <= 2 for version in versions)


def _paths(source: apsw.Connection) -> Iterator[Finding]:
    """Ask as the engine does, by the indexes it asks by: SQLite's check can pass over what it then stumbles on."""
    log, chains, meta = Log(source), Chains(source), Meta(source)
    look_ups: list[Callable[[], object]] = [
        log.first_held,
        log.first_held_entry,
        log.last_placed,
        log.controls,
        lambda: list(log.rejected()),
        meta.count_states,
        meta.relays,
        chains.version_vector,
        chains.count_waiting_and_void,
        lambda: awaited_types(source),
    ]
    try:
        for look_up in look_ups:
            look_up()
    except Exception as error:  # noqa: BLE001 - damage shows itself in any way
        yield Finding("structure", f"a look-up fails ({type(error).__name__}: {error})", KEPT)


def _difference(
    source: apsw.Connection, restored: apsw.Connection, sql: str, part: str, what: str
) -> Iterator[Finding]:
    """Compare what two databases answer, rows in any order."""
    should = set(raw_rows(restored, sql))
    try:
        there = set(raw_rows(source, sql))
    except (apsw.Error, UnicodeDecodeError) as error:
        yield Finding(part, f"{what} cannot be read ({type(error).__name__}: {error})", REBUILDS)
        return
    wrong, missing = there - should, should - there
    if wrong or missing:
        yield Finding(
            part,
            f"{what} is not what the log says: {len(wrong)} are wrong or too many, {len(missing)} missing",
            REBUILDS,
        )
