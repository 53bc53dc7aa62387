"""The last seat: a trip has so many seats, and nobody can be asked before one is sold.

The invariant is counted: no more passengers than seats. Of two sales of the last seat, the earlier in the order stands.
"""

from driftlog import App, Event, ViewTransaction, reject

app = App(
    "org.driftlog.example.seat",
    tables="""
    CREATE TABLE trip (id TEXT PRIMARY KEY, seats INTEGER NOT NULL) STRICT;

    CREATE TABLE passenger (ticket TEXT PRIMARY KEY, trip TEXT NOT NULL REFERENCES trip (id), name TEXT NOT NULL) STRICT;
    CREATE INDEX passenger_trip ON passenger (trip);
    """,
)


class TripAnnounced(Event, name="trip.announced"):
    """A trip is on sale."""

    id: str
    seats: int


class SeatSold(Event, name="seat.sold"):
    """Somebody has bought a seat."""

    ticket: str
    trip: str
    name: str


class SaleCancelled(Event, name="sale.cancelled"):
    """A ticket was given back; its seat is free again."""

    ticket: str


@app.on(TripAnnounced)
def trip_announced(tx: ViewTransaction, event: TripAnnounced) -> None:
    """Put the trip on sale."""
    tx.execute("INSERT INTO trip VALUES (?, ?)", (event.id, event.seats))


@app.on(SeatSold)
def seat_sold(tx: ViewTransaction, event: SeatSold) -> None:
    """Give a seat, unless all are taken."""
    trip = tx.one("SELECT seats FROM trip WHERE id = ?", (event.trip,))
    taken = tx.query("SELECT ticket FROM passenger WHERE trip = ?", (event.trip,))
    if trip is None or len(taken) >= trip.seats:
        reject(f"no seat is left on {event.trip}")
    tx.execute("INSERT INTO passenger VALUES (?, ?, ?)", (event.ticket, event.trip, event.name))


@app.on(SaleCancelled)
def sale_cancelled(tx: ViewTransaction, event: SaleCancelled) -> None:
    """Free the seat. A ticket that never came to be sold cannot be given back."""
    if tx.one("SELECT 1 FROM passenger WHERE ticket = ?", (event.ticket,)) is None:
        reject(f"ticket {event.ticket} is not sold")
    tx.execute("DELETE FROM passenger WHERE ticket = ?", (event.ticket,))
