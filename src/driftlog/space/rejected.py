"""The rejected events as an app is told of them: with the events they lost against."""

from dataclasses import fields

from driftlog._sqlite.storage_errors import storage_errors
from driftlog._store.log import Log
from driftlog._store.losses import lost_to
from driftlog._store.program import Program
from driftlog._store.recording import Rows
from driftlog.space.entries import log_entry
from driftlog.space.past import check_view_is_of
from driftlog.space.reader import Reader
from driftlog.space.status import LogEntry, Rejected

_SHOWN = [field.name for field in fields(LogEntry)]


def rejected_entries(reader: Reader, program: Program) -> list[Rejected]:
    """Give all of them in order, read from one state of the file."""
    with storage_errors(reader.path), reader.apart() as connection:
        check_view_is_of(connection, program, reader.path)
        log = Log(connection)
        entries = list(log.rejected())
        writers = lost_to(log, Rows(program.tables), entries)
        shown = [log_entry(program, entry) for entry in entries]
    return [Rejected(**{name: getattr(one, name) for name in _SHOWN}, lost_to=writers[one.timestamp]) for one in shown]
