"""The reading half of a space: its tables, its log, its past, and where it stands. Nothing here writes."""

from collections.abc import Iterator, Sequence

from driftlog._core.clock import Timestamp
from driftlog._sqlite.reading import query_all
from driftlog._sqlite.rows import Parameters, Row, SqlValue
from driftlog._sqlite.storage_errors import storage_errors
from driftlog._store.own_state import show_own_state
from driftlog._store.view import view_digest
from driftlog.space.engine import Engine
from driftlog.space.entries import decode_entries
from driftlog.space.past import Past, view_at
from driftlog.space.rejected import rejected_entries
from driftlog.space.status import LogEntry, Rejected, Status
from driftlog.space.survey import survey
from driftlog.space.syncing import Syncing
from driftlog.space.why import why_row


class Reading:
    """What of a `Space` reads."""

    _engine: Engine
    _syncing: Syncing

    def query(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Give the rows of a query on the app's tables: `row.id`, `row["id"]`, `row[0]`.

        The engine's own tables begin with `driftlog_`; `driftlog_pending`, `driftlog_rejected`, `driftlog_held`,
        `driftlog_unknown` and `driftlog_device` are there to be read (`docs/live.md`).
        """
        self._engine.check_open()
        with storage_errors(self._engine.path), self._engine.reader.connection() as connection:
            show_own_state(connection, sql)
            return query_all(connection, sql, parameters)

    def log(self, after: Timestamp | None = None, before: Timestamp | None = None) -> Iterator[LogEntry]:
        """Give the log's entries in the total order: those after and before the given timestamps, where they are given."""
        self._engine.check_open()
        return decode_entries(self._engine.reader, self._engine.program, after, before)

    def at(self, timestamp: Timestamp) -> Past:
        """Give the view as it was right after the event with this timestamp, as the log is known now: a copy for reading.

        Every event up to and including that place counts, whether or not there is one with just this timestamp, and so do
        late arrivals that belong before it. Held, rejected, unknown and undone events have no part in it, as in the view.

        The tables are copied into memory and taken back: about 1.2 µs a row that there is now, and 2 to 3 µs for each event
        after the timestamp (100,000 rows, 100,000 later events: 0.5 s). No materializer runs. Nobody waits meanwhile, except
        for the copying where the space has one connection only: in memory, or opened read-only. Raises `AppChanged` if
        another version of the app made the tables.
        """
        self._engine.check_open()
        return view_at(self._engine.reader, self._engine.program, timestamp)

    def why(self, table: str, key: SqlValue | Sequence[SqlValue]) -> list[LogEntry]:
        """Give the events that made a row what it is, in order: all that made, changed or removed it, at any time.

        What came over it through cascades and triggers counts. `key` is the row's primary key, a sequence where that has
        several columns; the row need not be there any more. Keys are compared as SQLite does, 'a' and 'A' being one under
        NOCASE. Raises `InvalidKey` for a table or key that the app cannot have.

        Searches the undo data of the whole log: 0.2 to 0.4 µs an event, and up to 5 µs for a key so short that its bytes are
        in most of it, such as the integer 0. Nobody waits meanwhile, except where the space has one connection only.
        """
        self._engine.check_open()
        return why_row(self._engine.reader, self._engine.program, table, key)

    def rejected(self) -> list[Rejected]:
        """Give the rejected events of all devices in the total order, each with the reason and the events it lost against.

        `driftlog_rejected` gives them to `query` without those. Reads the log backwards from each until a writer of all that
        it came across is found, at most 100,000 events that changed the view: 2 to 3 µs for each event read, and none is
        read twice. Nobody waits meanwhile, except where the space has one connection only. Raises `AppChanged` if another
        version of the app made the tables.
        """
        self._engine.check_open()
        return rejected_entries(self._engine.reader, self._engine.program)

    def digest(self) -> bytes:
        """Hash the view: 32 bytes, equal on devices whose tables are equal. Reads every row."""
        self._engine.check_open()
        with storage_errors(self._engine.path), self._engine.reader.consistent() as connection:
            return view_digest(connection, self._engine.program.tables)

    def status(self) -> Status:
        """Say where this device stands: pending and confirmed events, devices, relays, what is held or rejected."""
        with self._engine.reading() as store:
            return survey(store, self._engine.keys.device_key, self._syncing.states(), is_read_only=self.is_read_only)

    @property
    def device(self) -> bytes:
        """This device's key in this space, 32 bytes: its identity in the log."""
        return self._engine.keys.device_key

    @property
    def space_id(self) -> bytes:
        """The space's id, 32 bytes, equal on all its devices."""
        return self._engine.keys.space

    @property
    def is_read_only(self) -> bool:
        """Whether the file could be opened for reading only."""
        return self._engine.is_read_only
