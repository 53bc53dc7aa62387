"""Why a row is what it is: the events that made, changed or removed it, as log entries."""

from collections.abc import Sequence

from driftlog._sqlite.keys import row_key
from driftlog._sqlite.rows import SqlValue
from driftlog._sqlite.storage_errors import storage_errors
from driftlog._store.history import entries_of_row
from driftlog._store.log import Log
from driftlog._store.program import Program
from driftlog.space.entries import log_entry
from driftlog.space.past import check_view_is_of
from driftlog.space.reader import Reader
from driftlog.space.status import LogEntry


def why_row(reader: Reader, program: Program, table: str, key: SqlValue | Sequence[SqlValue]) -> list[LogEntry]:
    """Give the entries that changed a row, read from one state of the file."""
    with storage_errors(reader.path), reader.apart() as connection:
        check_view_is_of(connection, program, reader.path)
        wanted = row_key(connection, program.tables, table, key)
        return [log_entry(program, entry) for entry in entries_of_row(Log(connection), wanted)]
