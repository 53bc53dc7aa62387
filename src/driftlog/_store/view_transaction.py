"""What a materializer holds: the app's tables, confined to what every device answers alike, and recorded as it is used."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import apsw

from driftlog._core.clock import Timestamp
from driftlog._core.entropy import EventEntropy
from driftlog._sqlite.confine import Confinement, vet_statement
from driftlog._sqlite.rows import Parameters, Row, fetch_all, fetch_one
from driftlog._sqlite.sqltext import excerpt
from driftlog._sqlite.storage_errors import ENVIRONMENT_ERRORS
from driftlog._sqlite.tables import TableSet
from driftlog._store.access import Access, RowOf, access_of
from driftlog._store.known import known_of
from driftlog._store.recording import Recorder
from driftlog.errors import DriftlogError, ForbiddenSQL

_Answer = TypeVar("_Answer")


class ViewTransaction:
    """What a materializer gets: the app's tables, and the event's place, time and dice. Nothing else.

    It is valid while the materializer runs. Statements are SELECT, INSERT, UPDATE and DELETE on the app's tables; what
    could differ between devices (clocks, `random()`, other databases) raises `ForbiddenSQL`.
    """

    __slots__ = (
        "_confinement",
        "_connection",
        "_cursor",
        "_entropy",
        "_failure",
        "_known",
        "_recorder",
        "_tables",
        "timestamp",
        "wall_ms",
    )  # fmt: skip

    timestamp: Timestamp
    """The event's place in the total order."""
    wall_ms: int
    """What the device's clock showed when the event was made, milliseconds since 1970."""

    def __init__(
        self, connection: apsw.Connection, tables: TableSet, confinement: Confinement, recorder: Recorder
    ) -> None:
        self._connection = connection
        # One cursor for every write: making another costs as much as a small statement.
        self._cursor = connection.cursor()
        self._confinement = confinement
        self._tables = tables
        self._recorder = recorder
        self._known = known_of(tables.fingerprint, confinement.local_names)
        self._entropy: EventEntropy | None = None
        self._failure: Exception | None = None

    def execute(self, sql: str, parameters: Parameters = ()) -> None:
        """Run one INSERT, UPDATE or DELETE."""
        # `_noted` in long hand: nearly every event runs one statement, and this is it.
        access = self._access(sql, parameters)
        changes = self._recorder.changes
        before = len(changes)
        try:
            self._cursor.execute(sql, parameters)
            if access.gives_rows:
                # To the end: rows left unread would hold the cursor's statement open.
                self._cursor.fetchall()
        except Exception as error:  # noqa: BLE001 - the hook fails in Python, too, and the statement has read all the same
            # So would a row that Python cannot read.
            self._cursor.close(force=True)
            self._cursor = self._connection.cursor()
            raise self._explained(sql, parameters, error) from None
        if not access.is_told_by_images or len(changes) == before:
            self._recorder.note(access, parameters, before)

    def one(self, sql: str, parameters: Parameters = ()) -> Row | None:
        """Give the first row of a query, or None."""
        return self._noted(sql, parameters, partial(fetch_one, self._connection))

    def query(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Give all rows of a query. Without ORDER BY their order is SQLite's choice; do not let the result hang on it."""
        return self._noted(sql, parameters, partial(fetch_all, self._connection))

    def _noted(self, sql: str, parameters: Parameters, run: Callable[[str, Parameters], _Answer]) -> _Answer:
        access = self._access(sql, parameters)
        before = len(self._recorder.changes)
        try:
            answer = run(sql, parameters)
        except Exception as error:  # noqa: BLE001 - the hook fails in Python, too, and the statement has read all the same
            raise self._explained(sql, parameters, error) from None
        self._recorder.note(access, parameters, before)
        return answer

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

    def _access(self, sql: str, parameters: Parameters) -> Access:
        if not self._confinement.is_active:
            raise DriftlogError("a materializer's tx was used after the materializer returned; use it within only")
        if self._failure is not None:
            # SQLite may have ended the transaction by itself: what came now would stay, outside of any.
            raise self._failure
        if type(parameters) not in (tuple, list, dict) and isinstance(parameters, Iterator):
            # Asking what a new statement reads would use it up, so the first event to run it would alone go wrong.
            raise TypeError("parameters can be read only once; give a tuple or a list")
        access = self._known.get(sql)
        if access is None:
            vet_statement(sql)
            try:
                access = access_of(self._connection, self._confinement, self._tables, sql, parameters)
            except apsw.Error as error:
                raise self._explained(sql, parameters, error) from None
            self._known.add(sql, access)
        if access.row is not None and access.row.find_sql is not None:
            self._find(access.row, access.row.find_sql, parameters)
        return access

    def _find(self, row: RowOf, find_sql: str, parameters: Parameters) -> None:
        """Note the row that a statement is going to look at by a UNIQUE value, as it is before."""
        cell = row.cell(parameters)
        if cell is not None and len(cell) == 2:
            for key in self._connection.execute(find_sql, cell[1]):
                self._recorder.note_row(row.table, key)

    def _explained(self, sql: str, parameters: Parameters, error: Exception) -> Exception:
        access = self._known.get(sql)
        if access is not None:
            self._recorder.note_failure(access, parameters)
        if isinstance(error, ENVIRONMENT_ERRORS):
            # A materializer may catch it and go on; the engine may not.
            self._failure = error
        reason = self._confinement.take_reason()
        return error if reason is None else ForbiddenSQL(f"`{excerpt(sql)}`: {reason}")
