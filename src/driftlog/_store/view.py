"""The view: the app's tables, changed by one event at a time and taken back by the images of what was changed.

While a materializer runs, a preupdate hook keeps each touched row as it was; packed, they are the event's undo data. To
rewind, the images of many events are merged, the oldest of each row counting, and each row is written once: first all
that must not be there is deleted, then what must be is put back, so that no order of rows can meet a UNIQUE constraint.
Triggers and foreign keys are off meanwhile, because the images already hold what those did.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from enum import Enum
from hashlib import blake2b
from threading import Thread
from typing import Final

import apsw

from driftlog._core.clock import Timestamp
from driftlog._core.event import Event
from driftlog._core.touch import Touch
from driftlog._sqlite.confine import Confinement
from driftlog._sqlite.sqltext import fold, quote
from driftlog._sqlite.storage_errors import ENVIRONMENT_ERRORS
from driftlog._sqlite.tables import TableSet
from driftlog._store.local import local_names
from driftlog._store.program import Materializer, Rejection
from driftlog._store.recording import Image, Recorder, RowImage, damaged_undo, encode
from driftlog._store.view_transaction import ViewTransaction
from driftlog.errors import ForbiddenSQL

_log = logging.getLogger("driftlog")

REASON_CHARS_MAX = 500
"""A reason is a sentence for a person; a longer one is cut, alike everywhere."""

_CANNOT_BE_HELD = (
    apsw.ConstraintError,
    apsw.MismatchError,
    apsw.BindingsError,
    ValueError,
    TypeError,
    OverflowError,
    IndexError,
)
"""What SQLite and Python say of an image that no row of the tables can have been."""

EXHAUSTED = (RecursionError, MemoryError)
"""What depends on where a materializer was called from, and not only on the event."""


class Guard(Enum):
    """What takes an event back that is rejected."""

    SAVEPOINT = "savepoint"
    """A savepoint of its own. Each keeps a copy of every page that the event is the first to change."""
    IMAGES = "images"
    """The images of what it changed, within a savepoint of the caller's; `Unreadable` where these do not suffice."""
    CALLER = "caller"
    """The surrounding transaction or savepoint, which a rejection undoes anyway."""


# Asked of the class, a member costs more than comparing it: this is asked several times an event.
_SAVEPOINT: Final = Guard.SAVEPOINT
_CALLER: Final = Guard.CALLER


class Unreadable(Exception):
    """What a rejected event did cannot be taken back by images: undo the savepoint around it, and judge in another way."""


Effect = tuple[bytes | None, bytes | None]
"""What an event did to the view, as the log keeps it: undo data, the changed rows as they were, None for none; and touch
data, the cells it touched besides these, None for none."""


class View:
    """The app's tables in the space's file."""

    def __init__(
        self, connection: apsw.Connection, tables: TableSet, declared_local: frozenset[str] = frozenset()
    ) -> None:
        self._connection = connection
        self._tables = tables
        self._confinement = Confinement(tables, declared_local)
        self._recorder = Recorder(tables)
        self._transaction = ViewTransaction(connection, tables, self._confinement, self._recorder)
        self._must_check_deferred = tables.has_deferred_foreign_keys
        self._is_in_run = False
        # One cursor for the savepoint of every event: making another costs half as much as what it runs.
        self._control = connection.cursor().execute
        connection.authorizer = self._confinement
        # In the view, constraints hold at every event; while rewinding they are suspended.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)

    def create(self) -> None:
        """Make the app's tables, empty."""
        for statement in self._tables.statements:
            self._connection.execute(statement)

    def drop(self) -> None:
        """Remove every table, view, index and trigger that is not the engine's own or local, whichever version made them."""
        kept = local_names(self._connection)
        # The tables may be of an older version of the app, with foreign keys that this one does not have.
        with self._constraints_suspended():
            for kind in ("view", "table"):
                names = self._connection.execute(
                    "SELECT name FROM sqlite_schema WHERE type = ? AND name NOT LIKE 'driftlog\\_%' ESCAPE '\\'"
                    " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
                    (kind,),
                ).fetchall()
                for (name,) in names:
                    if fold(str(name)) not in kept:
                        self._connection.execute(f"DROP {kind} {quote(str(name))}")

    def clear(self) -> None:
        """Empty the app's tables."""
        with self._constraints_suspended():
            for table in self._tables.tables:
                self._connection.execute(table.clear_sql)

    def apply(
        self,
        materializer: Materializer,
        event: Event,
        timestamp: Timestamp,
        wall_ms: int,
        *,
        guard: Guard = Guard.SAVEPOINT,
    ) -> Effect:
        """Run a materializer, and give what it did.

        Raises `Rejection`, which says what the event came across, with the view as it was before, unless that is the
        caller's matter.
        """
        if guard is _CALLER:
            return self._run(materializer, event, timestamp, wall_ms)
        if self._must_check_deferred:
            # SQLite counts violations that may yet be mended, and images do not tell it that they are gone.
            guard = _SAVEPOINT
        if guard is _SAVEPOINT:
            self._control("SAVEPOINT driftlog_event")
        try:
            effect = self._run(materializer, event, timestamp, wall_ms)
        except Rejection as rejection:
            self._take_back(guard)
            if not isinstance(rejection.__cause__, EXHAUSTED):
                self._release(guard)
                raise
            effect = self._run_afresh(materializer, event, timestamp, wall_ms, guard)
        if guard is _SAVEPOINT:
            self._release(guard)
        return effect

    @contextmanager
    def run_of_events(self) -> Iterator[None]:
        """Apply events one after the other within, and take them back: the hook is set once for all of them.

        Nothing else may be changed in the file meanwhile.
        """
        self._connection.preupdate_hook(self._recorder.keep_image)
        self._is_in_run = True
        try:
            yield
        finally:
            self._is_in_run = False
            self._connection.preupdate_hook(None)

    def _take_back(self, guard: Guard) -> None:
        assert self._connection.in_transaction, "no vetted statement can end the transaction"
        if guard is _SAVEPOINT:
            self._control("ROLLBACK TO driftlog_event")
            return
        images = self._recorder.images()
        if images is None:
            raise Unreadable
        self._put_back(images)

    def _release(self, guard: Guard) -> None:
        if guard is _SAVEPOINT:
            self._control("RELEASE driftlog_event")

    def _run(self, materializer: Materializer, event: Event, timestamp: Timestamp, wall_ms: int) -> Effect:
        transaction = self._transaction
        transaction.timestamp = timestamp
        transaction.wall_ms = wall_ms
        transaction._entropy = transaction._failure = None
        self._recorder.begin()
        is_alone = not self._is_in_run
        if is_alone:
            self._connection.preupdate_hook(self._recorder.keep_image)
        self._confinement.is_active = True
        try:
            materializer.handler(transaction, event)
            if self._must_check_deferred:
                self._check_deferred()
            effect = self._recorder.finish()
        except ENVIRONMENT_ERRORS:
            raise
        except Exception as error:
            # Whatever a materializer raises is its verdict on this event alone, unless the machine failed under it.
            if transaction._failure is not None:
                raise transaction._failure from error
            raise _rejection(materializer, event, error, self._recorder.finish_rejected()) from error
        finally:
            self._confinement.is_active = False
            if is_alone:
                self._connection.preupdate_hook(None)
        if transaction._failure is not None:
            raise transaction._failure
        return effect

    def _run_afresh(
        self, materializer: Materializer, event: Event, timestamp: Timestamp, wall_ms: int, guard: Guard
    ) -> Effect:
        """Judge an event again that ran out of stack or memory, in a thread where nothing else is on the stack.

        How deep the caller stood, and what else the process held, must not decide what becomes of an event.
        """
        outcome: list[Effect | BaseException] = []

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
            self._take_back(guard)
            self._release(guard)
        if isinstance(result, BaseException):
            raise result
        return result

    def _check_deferred(self) -> None:
        # SQLite looks at deferred foreign keys when the transaction ends, which is too late to tell whose they are.
        if self._connection.status(apsw.SQLITE_DBSTATUS_DEFERRED_FKS)[0]:
            raise Rejection("FOREIGN KEY constraint failed")

    def rewind(self, undos: Iterable[bytes]) -> None:
        """Take back events: `undos` is their undo data from the oldest to the newest. Each row is written once.

        Raises `Corrupt` where undo data cannot be read, or is of no row that the tables can hold.
        """
        images = self._recorder.rows.merge(undos)
        if self._is_in_run:
            # What is put back is nobody's doing, and a row that Python cannot read may be overwritten by it.
            self._connection.preupdate_hook(None)
        try:
            self._put_back(images)
        except _CANNOT_BE_HELD as error:
            raise damaged_undo(error) from error
        finally:
            if self._is_in_run:
                self._connection.preupdate_hook(self._recorder.keep_image)

    def _put_back(self, images: Mapping[Image, RowImage]) -> None:
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

    def images(self, undo: bytes | None) -> dict[Image, RowImage]:
        """Give the rows that an event changed as they were before it, by table index and key; None where there was none."""
        return self._recorder.rows.merge([] if undo is None else [undo])

    def touch(self, undo: bytes | None, touch: bytes | None) -> Touch:
        """Give the cells that an event touched, from what the log holds of it."""
        return self._recorder.rows.touch(undo, touch)

    def digest(self) -> bytes:
        """Hash every row of every table, in key order: 32 bytes, equal on devices with equal views. Reads all of it."""
        return view_digest(self._connection, self._tables)


def view_digest(connection: apsw.Connection, tables: TableSet) -> bytes:
    """Hash every row of every table, in key order, through any connection."""
    hasher = blake2b(digest_size=32, person=b"driftlog view 1")
    for table in tables.tables:
        hasher.update(encode(table.name))
        for row in connection.execute(table.select_all_sql):
            hasher.update(encode(row))
    return hasher.digest()


def _rejection(materializer: Materializer, event: Event, error: Exception, touch: bytes | None) -> Rejection:
    match error:
        case Rejection():
            reason = error.reason
        case apsw.ConstraintError() | ForbiddenSQL():
            reason = str(error)
        case _:
            # The text of other errors may hold addresses or a library's wording, which differ between devices.
            reason = f"{materializer.name} raised {type(error).__name__}"
            _log.warning("%s raised on %s", materializer.name, event.event_name, exc_info=error)
    # A lone surrogate has no UTF-8, so it could not be written down.
    reason = reason[:REASON_CHARS_MAX].encode(errors="backslashreplace").decode()
    return Rejection(reason, event.event_name, touch)
