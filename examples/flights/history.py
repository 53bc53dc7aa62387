"""From rows to what a desk would have recorded, in the order in which it would have happened.

The package states a flight's whole fate in one row; a desk learns it piece by piece: the schedule at midnight, the
departure when it leaves, the cancellation when it should have left, the arrival when the destination reports it.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final, NamedTuple

from examples.flights.app import FlightArrived, FlightCancelled, FlightDeparted, FlightScheduled
from examples.flights.data import Flight

from driftlog import Event

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
DAY_MINUTES: Final = 24 * 60


class Fact(NamedTuple):
    """An event, and when it happened."""

    at_ms: int
    event: Event


class Entry(NamedTuple):
    """What a desk enters at one moment: the facts since the entry before."""

    at_ms: int
    """When the last of them happened."""
    events: tuple[Event, ...]


def history(flights: Iterable[Flight]) -> list[Fact]:
    """Give everything that happened, in order of time; of one moment, the schedule before what it schedules."""
    facts = [fact for flight in flights for fact in _fate(flight)]
    # The sort is stable: what happens to one flight at one moment stays in its order.
    return sorted(facts, key=lambda fact: fact.at_ms)


def entries(facts: Iterable[Fact]) -> Iterator[Entry]:
    """Gather facts by the hour in which they happened: a desk enters them once an hour."""
    for _, hour in groupby(facts, key=lambda fact: fact.at_ms // HOUR_MS):
        gathered = list(hour)
        yield Entry(gathered[-1].at_ms, tuple(fact.event for fact in gathered))


def _fate(flight: Flight) -> Iterator[Fact]:
    midnight_ms = flight.scheduled_ms - flight.scheduled_minute * MINUTE_MS
    yield Fact(
        midnight_ms,
        FlightScheduled(
            id=flight.id,
            airport=flight.airport,
            date=flight.date,
            carrier=flight.carrier,
            number=flight.number,
            destination=flight.destination,
        ),
    )
    if flight.departure_delay is None:
        yield Fact(flight.scheduled_ms, FlightCancelled(id=flight.id))
        return
    departed_ms = flight.scheduled_ms + flight.departure_delay * MINUTE_MS
    yield Fact(departed_ms, FlightDeparted(id=flight.id, delay=flight.departure_delay))
    if flight.arrival_minute is not None:
        minutes = _minutes_under_way(flight, flight.departure_delay, flight.arrival_minute)
        yield Fact(departed_ms + minutes * MINUTE_MS, FlightArrived(id=flight.id, delay=flight.arrival_delay))


def _minutes_under_way(flight: Flight, departure_delay: int, arrival_minute: int) -> int:
    if flight.air_minutes is not None:
        return flight.air_minutes
    # Diverted: only the destination's clock is on record. Its next showing of that minute is off by the time zones
    # between, which moves nothing but the place of this event among those of other flights.
    left = flight.scheduled_minute + departure_delay
    return (arrival_minute - left) % DAY_MINUTES
