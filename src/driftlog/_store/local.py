"""The local tables in a space's file: made when the app first declares them, written beside events, never dropped.

They lie in the one file, so that a draft is deleted in the transaction that appends its event, and queries join them with
the view. The file keeps their names, because a rebuild drops whatever else is not the engine's, whichever version made it.

A table that is no longer declared stays, with its rows. One that is declared otherwise is an error, because rows cannot be
told to fit, and guessing could lose them. Indexes hold nothing of their own, and follow the declaration.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import apsw
import msgspec

from driftlog._sqlite.local import Declared, LocalTables
from driftlog._sqlite.rows import Parameters, raw_rows
from driftlog._sqlite.scratch import scratch
from driftlog._sqlite.sqltext import excerpt, fold, quote
from driftlog._sqlite.tables import TableSet
from driftlog._store.meta import Meta
from driftlog.errors import Corrupt, LocalTablesChanged

_KEY: Final = "local_tables"
# Those of the tables that SQLite made by itself for a constraint have no text.
_MADE = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND type IN ('table', 'index')"
APPS_MAX: Final = 64
TEXTS_MAX: Final = 1_000
"""Of vetted statements kept; an app has some dozens, and one that puts values into its texts must not fill the memory."""


@lru_cache(maxsize=APPS_MAX)
def _vetted(_: LocalTables) -> set[str]:
    """Give the statements that were vetted so far: the answer hangs on what is declared, and on nothing in a file."""
    return set()


def local_names(connection: apsw.Connection) -> frozenset[str]:
    """Give the names of the local tables in the file, folded, those no longer declared included."""
    value = Meta(connection).get(_KEY)
    if value is None:
        return frozenset()
    try:
        return frozenset(msgspec.msgpack.decode(value, type=list[str]))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(f"the names of local tables are damaged ({error}); run repair on the file") from error


def set_local_names(connection: apsw.Connection, names: Iterable[str]) -> None:
    """Say which tables in the file are local."""
    Meta(connection).set(_KEY, msgspec.msgpack.encode(sorted(names)))


class Local:
    """The local tables of one file, within the caller's transactions."""

    def __init__(self, connection: apsw.Connection, declared: LocalTables, view: TableSet) -> None:
        self._connection = connection
        self._declared = declared
        self._view = view
        self._vetted = _vetted(declared)

    def is_current(self) -> bool:
        """Tell whether all that is declared is there, and as it is declared."""
        tables, indexes = self._made()
        declared = self._declared
        return (
            _hold(tables, declared.tables)
            and _hold(indexes, declared.indexes)
            and len(indexes) == len(declared.indexes)
        )

    def prepare(self) -> None:
        """Raise `LocalTablesChanged` if a table is declared otherwise than it is; then make room for what is declared.

        To be called before the view is made anew, whose tables and indexes may take a name that was an index's here.
        """
        tables, indexes = self._made()
        for table in self._declared.tables:
            made = tables.get(fold(table.name))
            if made is not None and not table.is_as(made.sql):
                raise LocalTablesChanged(
                    f"{self._file} has the local table `{excerpt(made.sql)}`, and this version of the app declares "
                    f"`{excerpt(table.sql)}`; declare it as it was, and beside it one with another name to move the rows "
                    "to; the file was left as it is"
                )
        kept = [table.sql for name, table in tables.items() if name not in self._declared.names]
        # That the declared ones fit each other was found out when they were declared.
        if kept:
            self._check_beside(kept, ", ".join(sorted(tables)))
        for index in indexes.values():
            self._connection.execute(f"DROP INDEX {quote(index.name)}")

    def _check_beside(self, kept: list[str], names: str) -> None:
        try:
            with scratch((*kept, *self._view.statements, *self._declared.statements)):
                pass
        except apsw.SQLError as error:
            raise LocalTablesChanged(
                f"{self._file} has local tables of an earlier version of the app ({names}), and beside them this one's "
                f"cannot be made: {error}; choose another name, the file was left as it is"
            ) from error

    def make(self) -> None:
        """Make what is declared and not there yet, after `prepare`."""
        tables, _ = self._made()
        for table in self._declared.tables:
            if fold(table.name) not in tables:
                self._connection.execute(table.sql)
        for index in self._declared.indexes:
            try:
                self._connection.execute(index.sql)
            except apsw.ConstraintError as error:
                raise LocalTablesChanged(
                    f"{self._file} has rows in a local table that do not fit `{excerpt(index.sql)}`: {error}; change them "
                    "with the version of the app that made them first, the file was left as it is"
                ) from error
        names = {*tables, *self._declared.names}
        if names:
            set_local_names(self._connection, names)

    def execute(self, sql: str, parameters: Parameters) -> None:
        """Run one statement that writes local tables."""
        if sql not in self._vetted:
            self._declared.vet(sql, parameters)
            if len(self._vetted) >= TEXTS_MAX:
                self._vetted.clear()
            self._vetted.add(sql)
        # To the end: rows left unread, of a RETURNING, would hold the statement open.
        self._connection.execute(sql, parameters).fetchall()

    @property
    def _file(self) -> str:
        return self._connection.filename or ":memory:"

    def _made(self) -> tuple[dict[str, Declared], dict[str, Declared]]:
        """Give the local tables in the file, and their indexes, by folded name."""
        names = local_names(self._connection)
        tables: dict[str, Declared] = {}
        indexes: dict[str, Declared] = {}
        for kind, name, table, sql in raw_rows(self._connection, _MADE) if names else ():
            if not all(isinstance(text, str) for text in (name, table, sql)):
                raise Corrupt(f"{self._file} is damaged: its list of tables is not text; run repair on it")
            if fold(table) in names:
                (tables if kind == "table" else indexes)[fold(name)] = Declared(name, sql)
        missing = names - tables.keys()
        if missing:
            raise Corrupt(f"{self._file} is damaged: {min(missing)!r} is no local table of it; run repair on it")
        return tables, indexes


def _hold(made: dict[str, Declared], declared: tuple[Declared, ...]) -> bool:
    return all((item := made.get(fold(each.name))) is not None and each.is_as(item.sql) for each in declared)
