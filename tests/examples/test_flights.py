"""Three airports' desks come to what plain Python computes from the same rows, and a difference would be seen."""

from pathlib import Path

import pytest
from examples.flights import run as flights_run
from examples.flights.app import FlightArrived, FlightCancelled, FlightDeparted, FlightScheduled
from examples.flights.data import Flight, load
from examples.flights.expected import Tables, differences, expected
from examples.flights.history import HOUR_MS, MINUTE_MS, entries, history
from examples.flights.main import main

NINE_MS = 1_357_000_000_000 // HOUR_MS * HOUR_MS

FLIGHT = Flight(
    id=7,
    airport="JFK",
    destination="LAX",
    carrier="AA",
    number=1,
    date="2013-01-01",
    scheduled_ms=NINE_MS,
    scheduled_minute=9 * 60,
    departure_delay=-5,
    arrival_minute=12 * 60,
    arrival_delay=3,
    air_minutes=350,
)
CANCELLED = FLIGHT._replace(id=8, departure_delay=None, arrival_minute=None, arrival_delay=None, air_minutes=None)
VANISHED = FLIGHT._replace(id=9, arrival_minute=None, arrival_delay=None, air_minutes=None)
DIVERTED = FLIGHT._replace(id=10, arrival_minute=30, arrival_delay=None, air_minutes=None)


@pytest.mark.slow
def test_three_days_at_three_airports_come_to_what_plain_python_computes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--days", "3", "--keep", str(tmp_path)]) == 0

    out = capsys.readouterr().out
    assert "2,699 flights loaded" in out
    assert out.count("equal to plain Python") == 4
    assert {path.name for path in tmp_path.glob("*.db")} == {"EWR.db", "JFK.db", "LGA.db", "office.db", "relay.db"}


@pytest.mark.slow
def test_a_difference_is_named_and_is_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(flights: list[Flight]) -> Tables:
        tables = expected(flights)
        carrier = tables.carriers[0]
        return tables._replace(carriers=[carrier._replace(departures=carrier.departures + 1), *tables.carriers[1:]])

    monkeypatch.setattr(flights_run, "expected", wrong)

    assert main(["--days", "1"]) == 1

    out = capsys.readouterr().out
    assert "DIFFERENT from plain Python" in out
    assert "EWR: carriers: the desk has CarrierRow(carrier='9E'" in out


def test_databases_that_are_there_are_not_written_over(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "EWR.db").write_text("mine")

    with pytest.raises(SystemExit) as ended:
        main(["--keep", str(tmp_path)])

    assert ended.value.code == 2
    assert "holds databases already" in capsys.readouterr().err
    assert (tmp_path / "EWR.db").read_text() == "mine"


@pytest.mark.slow
def test_what_the_package_does_not_know_is_none_and_not_a_number() -> None:
    flights = load()

    never_left = [f for f in flights if f.departure_delay is None]
    not_landed = [f for f in flights if f.departure_delay is not None and f.arrival_minute is None]
    no_delay_stated = [f for f in flights if f.arrival_minute is not None and f.arrival_delay is None]
    assert [len(found) for found in (flights, never_left, not_landed, no_delay_stated)] == [336_776, 8_255, 458, 717]
    assert all(f.arrival_minute is None and f.arrival_delay is None for f in never_left)
    assert all((f.air_minutes is None) == (f.arrival_delay is None) for f in flights)
    assert {type(value) for f in flights for value in f} == {int, str, type(None)}


def test_a_flight_is_scheduled_at_midnight_then_leaves_then_lands() -> None:
    facts = history([FLIGHT])

    assert [(fact.at_ms - NINE_MS) // MINUTE_MS for fact in facts] == [-9 * 60, -5, 345]
    assert [type(fact.event) for fact in facts] == [FlightScheduled, FlightDeparted, FlightArrived]
    assert facts[2].event == FlightArrived(id=7, delay=3)


def test_a_flight_that_never_left_is_cancelled_when_it_should_have() -> None:
    assert [(fact.at_ms, fact.event) for fact in history([CANCELLED])][1:] == [(NINE_MS, FlightCancelled(id=8))]


def test_a_flight_without_a_landing_on_record_only_leaves() -> None:
    assert [type(fact.event) for fact in history([VANISHED])] == [FlightScheduled, FlightDeparted]


def test_a_diverted_flight_lands_later_than_it_left_and_without_a_delay() -> None:
    facts = history([DIVERTED])

    assert facts[2].event == FlightArrived(id=10, delay=None)
    assert facts[2].at_ms > facts[1].at_ms


def test_a_desk_enters_what_happened_once_an_hour_and_stamps_it_with_the_last_of_it() -> None:
    facts = history([FLIGHT, CANCELLED])

    made = list(entries(facts))

    assert [len(entry.events) for entry in made] == [2, 1, 1, 1]
    assert [entry.at_ms for entry in made] == [facts[1].at_ms, facts[2].at_ms, facts[3].at_ms, facts[4].at_ms]


def test_every_kind_of_difference_is_found() -> None:
    wanted = expected([FLIGHT, CANCELLED, VANISHED, DIVERTED])
    assert differences(wanted, wanted) == []

    for field in Tables._fields:
        rows = getattr(wanted, field)
        assert differences(wanted._replace(**{field: rows[1:]}), wanted)
        assert differences(wanted._replace(**{field: [*rows, rows[0]]}), wanted)


def test_plain_python_counts_what_is_known_and_nothing_else() -> None:
    tables = expected([FLIGHT, CANCELLED, VANISHED, DIVERTED])

    [day] = tables.days
    [carrier] = tables.carriers
    assert (day.scheduled, day.departed, day.cancelled, day.arrived) == (4, 3, 1, 2)
    assert (carrier.departures, carrier.departure_delay_sum, carrier.departure_delay_worst) == (3, -15, -5)
    assert (carrier.timed_arrivals, carrier.arrival_delay_sum, carrier.arrival_delay_worst) == (1, 3, 3)
