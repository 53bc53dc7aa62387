"""The view: the app's tables, changed by one event at a time and taken back by the images of what was changed.

While a materializer runs, a preupdate hook keeps each touched row as it was; packed, they are the event's undo data. To
rewind, the images of many events are merged, the oldest of each row counting, and each row is written once: first all
that must not be there is deleted, then what must be is put back, so that no order of rows can meet a UNIQUE constraint.
Triggers and foreign keys are off meanwhile, because the images already hold what those did.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from hashlib import blake2b
from operator import itemgetter
from threading import Thread
from typing import Any

import apsw
import msgspec

from driftlog._core.clock import Timestamp
from driftlog._core.entropy import EventEntropy
from driftlog._core.event import Event
from driftlog._sqlite.confine import Confinement, vet_statement
from driftlog._sqlite.connection import ENVIRONMENT_ERRORS
from driftlog._sqlite.rows import Parameters, Row, SqlValue, fetch_all, fetch_one
from driftlog._sqlite.sqltext import excerpt
from driftlog._sqlite.tables import Table, TableSet
from driftlog._store.program import Materializer, Rejection
from driftlog.errors import DriftlogError, ForbiddenSQL

_log = logging.getLogger("driftlog")

REASON_CHARS_MAX = 500
"""A reason is a sentence for a person; a longer one is cut, alike everywhere."""

EXHAUSTED = (RecursionError, MemoryError)
"""What depends on where a materializer was called from, and not only on the event."""

ROWID_LAST = (1 << 63) - 1
"""With a row at this integer key, SQLite chooses the next key at random."""

Image = tuple[int, Any]
"""Table index and key: a row's identity among the images. A key of one column is that value, of more their tuple."""

RowImage = tuple[SqlValue, ...] | None
"""A row as it was, all columns; None where there was none."""

# msgspec cannot state a union of text and bytes; the file is ours, and `_merge` asserts what it takes apart.
_Undo = tuple[list[list[Any]], list[list[Any]]]
_encode = msgspec.msgpack.Encoder().encode
_decode_undo = msgspec.msgpack.Decoder(_Undo).decode


class ViewTransaction:
    """What a materializer gets: the app's tables, and the event's place, time and dice. Nothing else.

    It is valid while the materializer runs. Statements are SELECT, INSERT, UPDATE and DELETE on the app's tables; what
    could differ between devices (clocks, `random()`, other databases) raises `ForbiddenSQL`.
    """

    __slots__ = ("_confinement", "_connection", "_entropy", "_failure", "_vetted", "_write", "timestamp", "wall_ms")

    timestamp: Timestamp
    """The event's place in the total order."""
    wall_ms: int
    """What the device's clock showed when the event was made, milliseconds since 1970."""

    def __init__(self, connection: apsw.Connection, confinement: Confinement) -> None:
        self._connection = connection
        # One cursor for every write: making another costs as much as a small statement.
        self._write = connection.cursor().execute
        self._confinement = confinement
        self._vetted: set[str] = set()
        self._entropy: EventEntropy | None = None
        self._failure: Exception | None = None

    def execute(self, sql: str, parameters: Parameters = ()) -> None:
        """Run one INSERT, UPDATE or DELETE."""
        self._vet(sql)
        try:
            # To the end: rows left unread, of a RETURNING, would hold the cursor's statement open.
            self._write(sql, parameters).fetchall()
        except apsw.Error as error:
            raise self._explained(sql, error) from None

    def one(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """Give the first row of a query, or None."""
        self._vet(sql)
        try:
            return fetch_one(self._connection, sql, parameters)
        except apsw.Error as error:
            raise self._explained(sql, error) from None

    def query(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Give all rows of a query. Without ORDER BY their order is SQLite's choice; do not let the result hang on it."""
        self._vet(sql)
        try:
            return fetch_all(self._connection, sql, parameters)
        except apsw.Error as error:
            raise self._explained(sql, error) from None

    def random_int(self, low: int, high: int) -> int:
        """Draw an integer from `low` to `high`, both included: the same on every device and at every replay."""
        return self._dice().integer(low, high)

    def random_bytes(self, count: int) -> bytes:
        """Draw bytes: the same on every device and at every replay. They are not secret."""
        return self._dice().take(count)

    def new_id(self) -> str:
        """Draw an id of 26 letters and digits: unique, and the same on every device and at every replay."""
        return self._dice().new_id()

    def _dice(self) -> EventEntropy:
        if self._entropy is None:
            self._entropy = EventEntropy(self.timestamp.event_hash)
        return self._entropy

    def _vet(self, sql: str) -> None:
        if not self._confinement.is_active:
            raise DriftlogError("a materializer's tx was used after the materializer returned; use it within only")
        if sql not in self._vetted:
            vet_statement(sql)
            self._vetted.add(sql)

    def _explained(self, sql: str, error: Exception) -> Exception:
        if isinstance(error, ENVIRONMENT_ERRORS):
            # A materializer may catch it and go on; the engine may not.
            self._failure = error
        reason = self._confinement.take_reason()
        return error if reason is None else ForbiddenSQL(f"`{excerpt(sql)}`: {reason}")


class View:
    """The app's tables in the space's file."""

    def __init__(self, connection: apsw.Connection, tables: TableSet) -> None:
        self._connection = connection
        self._tables = tables
        self._table_by_name: dict[str, Table] = {table.name: table for table in tables.tables}
        self._key_of = [itemgetter(*table.key) for table in tables.tables]
        self._confinement = Confinement(tables)
        self._transaction = ViewTransaction(connection, self._confinement)
        self._changes: list[tuple[str, str, Any, Any]] = []
        self._must_check_deferred = tables.has_deferred_foreign_keys
        connection.authorizer = self._confinement
        # In the view, constraints hold at every event; while rewinding they are suspended.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)

    def create(self) -> None:
        """Make the app's tables, empty."""
        for statement in self._tables.statements:
            self._connection.execute(statement)

    def drop(self) -> None:
        """Remove every table, view, index and trigger that is not the engine's own, whichever app version made them."""
        # The tables may be of an older version of the app, with foreign keys that this one does not have.
        with self._constraints_suspended():
            for kind in ("view", "table"):
                names = self._connection.execute(
                    "SELECT name FROM sqlite_schema WHERE type = ? AND name NOT LIKE 'driftlog\\_%' ESCAPE '\\'"
                    " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
                    (kind,),
                ).fetchall()
                for (name,) in names:
                    quoted = str(name).replace('"', '""')
                    self._connection.execute(f'DROP {kind} "{quoted}"')

    def apply(
        self, materializer: Materializer, event: Event, timestamp: Timestamp, wall_ms: int, *, is_guarded: bool = True
    ) -> bytes | None:
        """Run a materializer, and give the undo data of what it changed (None for nothing).

        Raises `Rejection` with the view as it was before. `is_guarded=False` leaves out the savepoint, where a rejection
        undoes the surrounding transaction or savepoint anyway.
        """
        execute = self._connection.execute
        if not is_guarded:
            return self._run(materializer, event, timestamp, wall_ms)
        execute("SAVEPOINT driftlog_event")
        try:
            undo = self._run(materializer, event, timestamp, wall_ms)
        except Rejection as rejection:
            assert self._connection.in_transaction, "no vetted statement can end the transaction"
            execute("ROLLBACK TO driftlog_event")
            if not isinstance(rejection.__cause__, EXHAUSTED):
                execute("RELEASE driftlog_event")
                raise
            undo = self._run_afresh(materializer, event, timestamp, wall_ms)
        execute("RELEASE driftlog_event")
        return undo

    def _run(self, materializer: Materializer, event: Event, timestamp: Timestamp, wall_ms: int) -> bytes | None:
        transaction = self._transaction
        transaction.timestamp = timestamp
        transaction.wall_ms = wall_ms
        transaction._entropy = transaction._failure = None
        self._changes.clear()
        self._connection.preupdate_hook(self._keep_image)
        self._confinement.is_active = True
        try:
            materializer.handler(transaction, event)
            self._check_deferred()
            undo = self._pack_undo()
        except ENVIRONMENT_ERRORS:
            raise
        except Exception as error:
            # Whatever a materializer raises is its verdict on this event alone, unless the machine failed under it.
            if transaction._failure is not None:
                raise transaction._failure from error
            raise _rejection(materializer, event, error) from error
        finally:
            self._confinement.is_active = False
            self._connection.preupdate_hook(None)
        if transaction._failure is not None:
            raise transaction._failure
        return undo

    def _run_afresh(self, materializer: Materializer, event: Event, timestamp: Timestamp, wall_ms: int) -> bytes | None:
        """Judge an event again that ran out of stack or memory, in a thread where nothing else is on the stack.

        How deep the caller stood, and what else the process held, must not decide what becomes of an event.
        """
        outcome: list[bytes | BaseException | None] = []

        def run() -> None:
            try:
                outcome.append(self._run(materializer, event, timestamp, wall_ms))
            except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
                outcome.append(error)

        thread = Thread(target=run, name="driftlog-materializer")
        thread.start()
        thread.join()
        [result] = outcome
        if isinstance(result, Rejection):
            self._connection.execute("ROLLBACK TO driftlog_event")
            self._connection.execute("RELEASE driftlog_event")
        if isinstance(result, BaseException):
            raise result
        return result

    def _check_deferred(self) -> None:
        # SQLite looks at deferred foreign keys when the transaction ends, which is too late to tell whose they are.
        if self._must_check_deferred and self._connection.status(apsw.SQLITE_DBSTATUS_DEFERRED_FKS)[0]:
            raise Rejection("FOREIGN KEY constraint failed")

    def _keep_image(self, change: apsw.PreUpdate) -> None:
        self._changes.append((change.table_name, change.op, change.old, change.new))

    def _pack_undo(self) -> bytes | None:
        changes = self._changes
        if not changes:
            return None
        images: dict[Image, RowImage] = {}
        for name, operation, old, new in changes:
            table = self._table_by_name[name]
            index = table.index
            key = self._key_of[index]
            if operation != "INSERT":
                images.setdefault((index, key(old)), old)
            if operation != "DELETE":
                if table.is_rowid and key(new) == ROWID_LAST:
                    raise Rejection(
                        f"{name} may not hold the integer key {ROWID_LAST}: SQLite would draw later keys at random"
                    )
                images.setdefault((index, key(new)), None)
        return pack_undo(images)

    def rewind(self, undos: Iterable[bytes]) -> None:
        """Take back events: `undos` is their undo data from the oldest to the newest. Each row is written once."""
        images = self._merge(undos)
        if not images:
            return
        tables = self._tables.tables
        execute = self._connection.execute
        has_constraints = self._tables.has_foreign_keys or self._tables.has_triggers
        with self._constraints_suspended() if has_constraints else nullcontext():
            for (index, key), row in images.items():
                table = tables[index]
                if row is None or table.has_unique:
                    execute(table.delete_sql, key if type(key) is tuple else (key,))
            for (index, _), row in images.items():
                if row is not None:
                    table = tables[index]
                    execute(table.upsert_sql, [row[place] for place in table.stored])

    def _merge(self, undos: Iterable[bytes]) -> dict[Image, RowImage]:
        images: dict[Image, RowImage] = {}
        for undo in undos:
            absent, present = _decode_undo(undo)
            for index, *key in absent:
                assert type(index) is int
                images.setdefault((index, key[0] if len(key) == 1 else tuple(key)), None)
            for index, *row in present:
                assert type(index) is int
                images.setdefault((index, self._key_of[index](row)), tuple(row))
        return images

    @contextmanager
    def _constraints_suspended(self) -> Iterator[None]:
        # `PRAGMA foreign_keys` does nothing within a transaction; the configuration call does. It costs that every cached
        # statement is compiled again, so it is left out where there is nothing to suspend.
        config = self._connection.config
        config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 0)
        config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
        try:
            yield
        finally:
            config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)
            config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 1)

    def digest(self) -> bytes:
        """Hash every row of every table, in key order: 32 bytes, equal on devices with equal views. Reads all of it."""
        return view_digest(self._connection, self._tables)


def view_digest(connection: apsw.Connection, tables: TableSet) -> bytes:
    """Hash every row of every table, in key order, through any connection."""
    hasher = blake2b(digest_size=32, person=b"driftlog view 1")
    for table in tables.tables:
        hasher.update(_encode(table.name))
        for row in connection.execute(table.select_all_sql):
            hasher.update(_encode(row))
    return hasher.digest()


def pack_undo(images: dict[Image, RowImage]) -> bytes:
    """Give undo data: the keys of rows that were not there, and the rows that were, each after its table's index."""
    absent = [
        (index, *key) if type(key) is tuple else (index, key) for (index, key), row in images.items() if row is None
    ]
    present = [(index, *row) for (index, _), row in images.items() if row is not None]
    return _encode((absent, present))


def unpack_undo(undo: bytes) -> _Undo:
    """Give the two lists of `pack_undo`: the keys of rows that were not there, and the rows that were."""
    images: _Undo = _decode_undo(undo)
    return images


def _rejection(materializer: Materializer, event: Event, error: Exception) -> Rejection:
    match error:
        case Rejection():
            reason = error.reason
        case apsw.ConstraintError() | ForbiddenSQL():
            reason = str(error)
        case _:
            # The text of other errors may hold addresses or a library's wording, which differ between devices.
            reason = f"{materializer.name} raised {type(error).__name__}"
            _log.warning("%s raised on %s", materializer.name, event.event_name, exc_info=error)
    return Rejection(reason[:REASON_CHARS_MAX], event.event_name)
