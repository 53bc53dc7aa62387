"""The demo's app: meeting rooms and who has booked them. Small, and full of reasons to disagree.

Two devices that book one room for one hour cannot both have it: the later event in the order is rejected, on every
device alike. Two that rename one room both may, and the later name stands.
"""

from collections.abc import Callable
from typing import TypeVar

from driftlog._core.event import Event
from driftlog._store.program import reject
from driftlog._store.view_transaction import ViewTransaction
from driftlog.space.app import App

_EventT = TypeVar("_EventT", bound=Event)
_Handler = Callable[[ViewTransaction, _EventT], None]

TABLES = """
CREATE TABLE room (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  renamed INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE booking (
  id TEXT PRIMARY KEY,
  room TEXT NOT NULL REFERENCES room (id),
  hour TEXT NOT NULL,
  who TEXT NOT NULL,
  subject TEXT NOT NULL,
  UNIQUE (room, hour)
) STRICT;
"""


class RoomOpened(Event, name="room.opened"):
    """There is a room."""

    id: str
    name: str


class RoomRenamed(Event, name="room.renamed"):
    """A room has another name."""

    id: str
    name: str


class RoomBooked(Event, name="room.booked"):
    """Somebody has booked a room for an hour."""

    id: str
    room: str
    hour: str
    who: str
    subject: str


class BookingCancelled(Event, name="booking.cancelled"):
    """A booking is given up; the hour is free again."""

    id: str


EVENT_TYPES: dict[str, type[Event]] = {
    event_type.event_name: event_type for event_type in (RoomOpened, RoomRenamed, RoomBooked, BookingCancelled)
}


def make_app(on_run: Callable[[], None]) -> App:
    """Declare the app. `on_run` is called whenever a materializer runs: the demo counts replays, and changes nothing."""
    app = App("org.driftlog.demo", tables=TABLES)

    def declare(event_type: type[_EventT], handler: _Handler[_EventT]) -> None:
        @app.on(event_type)
        def counted(tx: ViewTransaction, event: _EventT) -> None:
            on_run()
            handler(tx, event)

    declare(RoomOpened, room_opened)
    declare(RoomRenamed, room_renamed)
    declare(RoomBooked, room_booked)
    declare(BookingCancelled, booking_cancelled)
    return app


def room_opened(tx: ViewTransaction, event: RoomOpened) -> None:
    """Add the room."""
    tx.execute("INSERT INTO room (id, name) VALUES (?, ?)", (event.id, event.name))


def room_renamed(tx: ViewTransaction, event: RoomRenamed) -> None:
    """Take the new name; of two, the later in the order stands."""
    tx.execute("UPDATE room SET name = ?, renamed = renamed + 1 WHERE id = ?", (event.name, event.id))


def room_booked(tx: ViewTransaction, event: RoomBooked) -> None:
    """Book the hour, unless somebody has it."""
    taken = tx.one("SELECT who, subject FROM booking WHERE room = ? AND hour = ?", (event.room, event.hour))
    if taken is not None:
        reject(f"{event.room}, {event.hour}: {taken.who} has it for {taken.subject}")
    tx.execute(
        "INSERT INTO booking (id, room, hour, who, subject) VALUES (?, ?, ?, ?, ?)",
        (event.id, event.room, event.hour, event.who, event.subject),
    )


def booking_cancelled(tx: ViewTransaction, event: BookingCancelled) -> None:
    """Free the hour, if the booking stands."""
    if tx.one("SELECT 1 FROM booking WHERE id = ?", (event.id,)) is None:
        reject(f"booking {event.id} does not stand")
    tx.execute("DELETE FROM booking WHERE id = ?", (event.id,))
