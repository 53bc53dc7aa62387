"""Between the app's event objects and the log's records, in both directions."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from driftlog._core.clock import Timestamp
from driftlog._core.event import Event, encode_as_read, version_of
from driftlog._sqlite.storage_errors import storage_errors
from driftlog._store.batches import Prepared
from driftlog._store.log import BEFORE_ALL, Entry, Log
from driftlog._store.program import Program, Rejection
from driftlog._store.reading import read_event
from driftlog.errors import InvalidEvent
from driftlog.space.reader import Reader
from driftlog.space.status import LogEntry


def prepare_events(program: Program, events: Sequence[Event]) -> list[Prepared]:
    """Check and encode events before any lock is taken."""
    return [_prepare(program, event) for event in events]


def _prepare(program: Program, event: Event) -> Prepared:
    if not isinstance(event, Event):
        raise InvalidEvent(f"{event!r} is not an event; append instances of Event subclasses")
    materializer = program.materializers.get((event.event_name, event.event_version))
    if materializer is None and (event.event_name, event.event_version) in program.upgrades:
        raise InvalidEvent(
            f"{event.event_name} version {event.event_version} is an older version, which app {program.name!r} only reads; "
            "append an event of the version that has a materializer"
        )
    if materializer is None:
        raise InvalidEvent(
            f"{event.event_name} version {event.event_version} has no materializer in app {program.name!r}; "
            f"declare one with @app.on({type(event).__name__}) before the space is opened"
        )
    return Prepared(*encode_as_read(event, materializer.decode, is_float_allowed=program.is_float_allowed))


def decode_entries(
    reader: Reader, program: Program, after: Timestamp | None, before: Timestamp | None
) -> Iterator[LogEntry]:
    """Give the log's entries between two timestamps, both left out."""
    place = after if after is not None else BEFORE_ALL
    while True:
        with storage_errors(reader.path), reader.connection() as connection:
            page = Log(connection).page_after(place)
        for entry in page:
            if before is not None and entry.timestamp >= before:
                return
            with storage_errors(reader.path):
                shown = log_entry(program, entry)
            yield shown
        if not page:
            return
        place = page[-1].timestamp


def log_entry(program: Program, entry: Entry) -> LogEntry:
    """Give an entry as it is shown, its event decoded if this version of the app can."""
    record = entry.record
    materializer = program.readings.get((record.name, record.marked_version))
    event = None
    if materializer is not None:
        # `state` and `reason` say why there is no event to show.
        with suppress(Rejection):
            event = read_event(materializer, record, is_float_allowed=program.is_float_allowed)
    version = version_of(record.marked_version)
    return LogEntry(entry.timestamp, record.wall_ms, record.name, version, event, entry.state, entry.reason)
