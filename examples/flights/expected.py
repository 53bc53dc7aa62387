"""The same tables computed from the package's rows in plain Python, without Driftlog: what the desks must come to.

It shares nothing with the app but the tables' layout, and reads rows in the package's order, not in that of events.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from examples.flights.data import Flight


class FlightRow(NamedTuple):
    """A flight's end."""

    id: int
    airport: str
    date: str
    carrier: str
    number: int
    destination: str
    state: str
    departure_delay: int | None
    arrival_delay: int | None


class DayRow(NamedTuple):
    """An airport's day."""

    airport: str
    date: str
    scheduled: int
    departed: int
    cancelled: int
    arrived: int


class CarrierRow(NamedTuple):
    """A carrier's year."""

    carrier: str
    departures: int
    departure_delay_sum: int
    departure_delay_worst: int | None
    timed_arrivals: int
    arrival_delay_sum: int
    arrival_delay_worst: int | None


class Tables(NamedTuple):
    """All three tables, each in the order of its key."""

    flights: list[FlightRow]
    days: list[DayRow]
    carriers: list[CarrierRow]


def expected(flights: Iterable[Flight]) -> Tables:
    """Compute the tables."""
    rows = sorted(
        FlightRow(
            f.id, f.airport, f.date, f.carrier, f.number, f.destination, _state(f), f.departure_delay, f.arrival_delay
        )
        for f in flights
    )
    return Tables(rows, _days(rows), _carriers(rows))


def _state(flight: Flight) -> str:
    if flight.departure_delay is None:
        return "cancelled"
    return "departed" if flight.arrival_minute is None else "arrived"


def _days(rows: list[FlightRow]) -> list[DayRow]:
    states_by_day: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        states_by_day.setdefault((row.airport, row.date), []).append(row.state)
    return [
        DayRow(
            airport,
            date,
            scheduled=len(states),
            departed=len(states) - states.count("cancelled"),
            cancelled=states.count("cancelled"),
            arrived=states.count("arrived"),
        )
        for (airport, date), states in sorted(states_by_day.items())
    ]


def _carriers(rows: list[FlightRow]) -> list[CarrierRow]:
    left_by_carrier: dict[str, list[int]] = {}
    landed_by_carrier: dict[str, list[int]] = {}
    for row in rows:
        if row.departure_delay is not None:
            left_by_carrier.setdefault(row.carrier, []).append(row.departure_delay)
        if row.arrival_delay is not None:
            landed_by_carrier.setdefault(row.carrier, []).append(row.arrival_delay)
    return [
        CarrierRow(
            carrier,
            departures=len(left),
            departure_delay_sum=sum(left),
            departure_delay_worst=max(left),
            timed_arrivals=len(landed_by_carrier.get(carrier, [])),
            arrival_delay_sum=sum(landed_by_carrier.get(carrier, [])),
            arrival_delay_worst=max(landed_by_carrier.get(carrier, []), default=None),
        )
        for carrier, left in sorted(left_by_carrier.items())
    ]


def differences(got: Tables, wanted: Tables, count: int = 3) -> list[str]:
    """Name what differs, at most `count` rows of each table, and say how many more."""
    return [
        *_differences("flights", got.flights, wanted.flights, count),
        *_differences("days", got.days, wanted.days, count),
        *_differences("carriers", got.carriers, wanted.carriers, count),
    ]


def _differences(name: str, got: Sequence[object], wanted: Sequence[object], count: int) -> list[str]:
    surplus = sorted(set(got) - set(wanted), key=repr)
    missing = sorted(set(wanted) - set(got), key=repr)
    found = [f"{name}: the desk has {row}" for row in surplus[:count]]
    found += [f"{name}: plain Python has {row}" for row in missing[:count]]
    more = max(0, len(surplus) - count) + max(0, len(missing) - count)
    if more:
        found.append(f"{name}: {more} more rows differ")
    if not surplus and not missing and got != wanted:
        found.append(f"{name}: the same rows, in another order or number")
    return found
