"""A meeting room with alternatives: the event says what would do as well, and the materializer takes the first that is free.

After the meeting room scheduler of Bayou (Terry et al., "Managing Update Conflicts in Bayou, a Weakly Connected Replicated
Storage System", 1995), where a write carries a check and a procedure that merges. Here the alternatives are data, and the
procedure is the materializer, which all devices have: an event cannot bring code along.
"""

from driftlog import App, Event, ViewTransaction, reject

app = App(
    "org.driftlog.example.room",
    tables="""
    CREATE TABLE meeting (
      id TEXT PRIMARY KEY,
      room TEXT NOT NULL,
      hour TEXT NOT NULL,
      who TEXT NOT NULL,
      UNIQUE (room, hour)
    ) STRICT;
    """,
)


class RoomBooked(Event, name="room.booked"):
    """Somebody has booked a room for one hour of several."""

    id: str
    room: str
    hours: list[str]
    """Those that would do, the best first."""
    who: str


class BookingCancelled(Event, name="booking.cancelled"):
    """A meeting is called off."""

    id: str


@app.on(RoomBooked)
def room_booked(tx: ViewTransaction, event: RoomBooked) -> None:
    """Take the first hour that is free."""
    for hour in event.hours:
        if tx.one("SELECT 1 FROM meeting WHERE room = ? AND hour = ?", (event.room, hour)) is None:
            tx.execute("INSERT INTO meeting VALUES (?, ?, ?, ?)", (event.id, event.room, hour, event.who))
            return
    reject(f"{event.room} is taken at {', '.join(event.hours)}")


@app.on(BookingCancelled)
def booking_cancelled(tx: ViewTransaction, event: BookingCancelled) -> None:
    """Free the hour that the meeting has come to."""
    if tx.one("SELECT 1 FROM meeting WHERE id = ?", (event.id,)) is None:
        reject(f"meeting {event.id} does not stand")
    tx.execute("DELETE FROM meeting WHERE id = ?", (event.id,))
