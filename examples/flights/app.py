"""The app that every desk runs: what it records about flights, and the tables that the records amount to.

Delays are kept as sums, counts and worst cases, all integers: a mean kept as a float would depend on the order of
additions, and a replay may add in another order than the first time.
"""

from driftlog import App, Event, ViewTransaction, reject

app = App(
    "org.driftlog.example.flights",
    tables="""
    CREATE TABLE flight (
      id INTEGER PRIMARY KEY,
      airport TEXT NOT NULL,
      date TEXT NOT NULL,
      carrier TEXT NOT NULL,
      number INTEGER NOT NULL,
      destination TEXT NOT NULL,
      state TEXT NOT NULL,
      departure_delay INTEGER,
      arrival_delay INTEGER
    ) STRICT;

    CREATE TABLE airport_day (
      airport TEXT NOT NULL,
      date TEXT NOT NULL,
      scheduled INTEGER NOT NULL DEFAULT 0,
      departed INTEGER NOT NULL DEFAULT 0,
      cancelled INTEGER NOT NULL DEFAULT 0,
      arrived INTEGER NOT NULL DEFAULT 0,
      PRIMARY KEY (airport, date)
    ) STRICT;

    -- `timed_arrivals` are those whose delay is known: a flight that landed elsewhere first has none.
    CREATE TABLE carrier (
      carrier TEXT PRIMARY KEY,
      departures INTEGER NOT NULL DEFAULT 0,
      departure_delay_sum INTEGER NOT NULL DEFAULT 0,
      departure_delay_worst INTEGER,
      timed_arrivals INTEGER NOT NULL DEFAULT 0,
      arrival_delay_sum INTEGER NOT NULL DEFAULT 0,
      arrival_delay_worst INTEGER
    ) STRICT;
    """,
)


class FlightScheduled(Event, name="flight.scheduled"):
    """A flight is on the day's schedule."""

    id: int
    airport: str
    date: str
    carrier: str
    number: int
    destination: str


class FlightDeparted(Event, name="flight.departed"):
    """A flight has left, so many minutes late; early if negative."""

    id: int
    delay: int


class FlightCancelled(Event, name="flight.cancelled"):
    """A flight will not leave."""

    id: int


class FlightArrived(Event, name="flight.arrived"):
    """A flight has landed, so many minutes late; None if it was diverted, so that nobody stated a delay."""

    id: int
    delay: int | None


_SCHEDULE = """
INSERT INTO flight (id, airport, date, carrier, number, destination, state) VALUES (?, ?, ?, ?, ?, ?, 'scheduled')
"""
_COUNT_SCHEDULED = """
INSERT INTO airport_day (airport, date, scheduled) VALUES (?, ?, 1)
ON CONFLICT DO UPDATE SET scheduled = scheduled + 1
"""
_FIND = "SELECT airport, date, carrier FROM flight WHERE id = ? AND state = ?"
_DEPART = "UPDATE flight SET state = 'departed', departure_delay = ? WHERE id = ?"
_COUNT_DEPARTED = "UPDATE airport_day SET departed = departed + 1 WHERE airport = ? AND date = ?"
_ADD_DEPARTURE = """
INSERT INTO carrier (carrier, departures, departure_delay_sum, departure_delay_worst) VALUES (?1, 1, ?2, ?2)
ON CONFLICT DO UPDATE SET departures = departures + 1, departure_delay_sum = departure_delay_sum + ?2,
  departure_delay_worst = max(departure_delay_worst, ?2)
"""
_CANCEL = "UPDATE flight SET state = 'cancelled' WHERE id = ?"
_COUNT_CANCELLED = "UPDATE airport_day SET cancelled = cancelled + 1 WHERE airport = ? AND date = ?"
_ARRIVE = "UPDATE flight SET state = 'arrived', arrival_delay = ? WHERE id = ?"
_COUNT_ARRIVED = "UPDATE airport_day SET arrived = arrived + 1 WHERE airport = ? AND date = ?"
# A carrier's first arrival follows its first departure, so the row is there.
_ADD_ARRIVAL = """
UPDATE carrier SET timed_arrivals = timed_arrivals + 1, arrival_delay_sum = arrival_delay_sum + ?2,
  arrival_delay_worst = max(coalesce(arrival_delay_worst, ?2), ?2)
WHERE carrier = ?1
"""


@app.on(FlightScheduled)
def flight_scheduled(tx: ViewTransaction, event: FlightScheduled) -> None:
    """Open a flight, and count it in its day."""
    tx.execute(_SCHEDULE, (event.id, event.airport, event.date, event.carrier, event.number, event.destination))
    tx.execute(_COUNT_SCHEDULED, (event.airport, event.date))


@app.on(FlightDeparted)
def flight_departed(tx: ViewTransaction, event: FlightDeparted) -> None:
    """Note a departure in flight, day and carrier."""
    airport, date, carrier = _flight(tx, event.id, "scheduled")
    tx.execute(_DEPART, (event.delay, event.id))
    tx.execute(_COUNT_DEPARTED, (airport, date))
    tx.execute(_ADD_DEPARTURE, (carrier, event.delay))


@app.on(FlightCancelled)
def flight_cancelled(tx: ViewTransaction, event: FlightCancelled) -> None:
    """Note a cancellation in flight and day."""
    airport, date, _ = _flight(tx, event.id, "scheduled")
    tx.execute(_CANCEL, (event.id,))
    tx.execute(_COUNT_CANCELLED, (airport, date))


@app.on(FlightArrived)
def flight_arrived(tx: ViewTransaction, event: FlightArrived) -> None:
    """Note an arrival in flight and day, and its delay with the carrier if there is one."""
    airport, date, carrier = _flight(tx, event.id, "departed")
    tx.execute(_ARRIVE, (event.delay, event.id))
    tx.execute(_COUNT_ARRIVED, (airport, date))
    if event.delay is not None:
        tx.execute(_ADD_ARRIVAL, (carrier, event.delay))


def _flight(tx: ViewTransaction, id_: int, state: str) -> tuple[str, str, str]:
    row = tx.one(_FIND, (id_, state))
    if row is None:
        reject(f"flight {id_} is not {state}")
    return row.airport, row.date, row.carrier
