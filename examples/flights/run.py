"""The year, day by day: the desks record apart, meet at the relay, go apart again; in the end an office joins.

What is printed is for people; what is returned says whether every table came out as plain Python computes it.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from examples.flights.data import AIRPORTS, Flight
from examples.flights.desk import Exchange, Exchanged, Record, Recorded, Report, Reported
from examples.flights.expected import Tables, differences, expected
from examples.flights.handle import Desk, file_bytes
from examples.flights.history import DAY_MS

from driftlog.testing import RelayThread

LANDED_BY_MS = 3 * DAY_MS
"""The last flight of the last day is in after this long: the longest delay is 22 hours, the longest flight 12."""

PROGRESS_SECONDS = 2.0

Say = Callable[[str], None]


@dataclass(slots=True)
class Ledger:
    """What one desk did, summed over the rounds."""

    events: int = 0
    record_seconds: float = 0.0
    exchange_seconds: float = 0.0
    bytes_sent: int = 0
    bytes_received: int = 0

    def add(self, done: Recorded | Exchanged) -> None:
        """Add a round's figures."""
        match done:
            case Recorded(events, seconds):
                self.events += events
                self.record_seconds += seconds
            case Exchanged(seconds, bytes_sent, bytes_received):
                self.exchange_seconds += seconds
                self.bytes_sent += bytes_sent
                self.bytes_received += bytes_received


@dataclass(slots=True)
class Result:
    """How a run came out."""

    ledger_by_desk: dict[str, Ledger] = field(default_factory=dict)
    file_bytes_by_desk: dict[str, int] = field(default_factory=dict)
    relay_bytes: int = 0
    events: int = 0
    record_seconds: float = 0.0
    """Wall time, of all desks at once."""
    exchange_seconds: float = 0.0
    """Wall time, of all desks at once."""
    office_seconds: float = 0.0
    differences: list[str] = field(default_factory=list)
    tables: Tables = field(default_factory=lambda: Tables([], [], []))


def run(flights: Sequence[Flight], directory: Path, days_apart: int, say: Say) -> Result:
    """Let the desks live through the flights, meeting every `days_apart` days, and compare what they come to."""
    result = Result()
    with ExitStack() as stack:
        relay = RelayThread(directory / "relay.db")
        relay.start()
        stack.callback(relay.stop)
        begin_ms = min(flight.scheduled_ms for flight in flights) // DAY_MS * DAY_MS
        end_ms = max(flight.scheduled_ms for flight in flights) + LANDED_BY_MS
        desks = _open_desks(stack, directory, flights, begin_ms)
        result.ledger_by_desk = {desk.name: Ledger() for desk in desks}
        _live(desks, relay.url, range(begin_ms, end_ms, days_apart * DAY_MS), end_ms, result, say)

        say("an office without flights joins last, and catches up")
        office = Desk("office", directory / "office.db", desks[0].link, (), end_ms)
        stack.callback(office.close)
        result.ledger_by_desk[office.name] = Ledger()
        result.office_seconds = _exchange([office], relay.url, result)
        result.events = sum(ledger.events for ledger in result.ledger_by_desk.values())
        _compare([*desks, office], flights, result, say)
        for desk in [*desks, office]:
            desk.close()
            result.file_bytes_by_desk[desk.name] = desk.file_bytes()
    result.relay_bytes = file_bytes(directory / "relay.db")
    return result


def _open_desks(stack: ExitStack, directory: Path, flights: Sequence[Flight], begin_ms: int) -> list[Desk]:
    desks: list[Desk] = []
    for airport in AIRPORTS:
        own = [flight for flight in flights if flight.airport == airport]
        link = desks[0].link if desks else None
        desks.append(Desk(airport, directory / f"{airport}.db", link, own, begin_ms))
        stack.callback(desks[-1].close)
    return desks


def _live(desks: Sequence[Desk], url: str, rounds: range, end_ms: int, result: Result, say: Say) -> None:
    said = time.perf_counter()
    for number, round_ms in enumerate(rounds, start=1):
        result.record_seconds += _record(desks, min(round_ms + rounds.step, end_ms), result)
        result.exchange_seconds += _exchange(desks, url, result)
        if time.perf_counter() - said > PROGRESS_SECONDS or number == len(rounds):
            said = time.perf_counter()
            events = sum(ledger.events for ledger in result.ledger_by_desk.values())
            say(f"round {number} of {len(rounds)}: {events:,} events recorded and exchanged")
    # A desk that was done early in the last round has not heard of what the others uploaded after it.
    result.exchange_seconds += _exchange(desks, url, result)


def _record(desks: Sequence[Desk], before_ms: int, result: Result) -> float:
    begun = time.perf_counter()
    for desk in desks:
        desk.ask(Record(before_ms))
    for desk in desks:
        result.ledger_by_desk[desk.name].add(desk.take(Recorded))
    return time.perf_counter() - begun


def _exchange(desks: Sequence[Desk], url: str, result: Result) -> float:
    begun = time.perf_counter()
    for desk in desks:
        desk.ask(Exchange(url))
    for desk in desks:
        result.ledger_by_desk[desk.name].add(desk.take(Exchanged))
    return time.perf_counter() - begun


def _compare(desks: Sequence[Desk], flights: Sequence[Flight], result: Result, say: Say) -> None:
    wanted = expected(flights)
    digests = set()
    for desk in desks:
        desk.ask(Report())
        reported = desk.take(Reported)
        digests.add(reported.digest)
        found = differences(reported.tables, wanted)
        for name, count in (("rejected", reported.rejected), ("pending", reported.pending)):
            if count:
                found.append(f"{count} events are {name}")
        if reported.events != result.events:
            found.append(f"the log holds {reported.events} events, {result.events} were recorded")
        if reported.unrecorded:
            found.append(f"{reported.unrecorded} entries were never recorded")
        say(
            f"{desk.name}: {len(reported.tables.flights):,} flights, digest {reported.digest.hex()[:16]}, "
            + (f"{len(found)} DIFFERENCES" if found else "equal to plain Python")
        )
        result.differences += [f"{desk.name}: {difference}" for difference in found]
        result.tables = reported.tables
    if len(digests) > 1:
        result.differences.append("the desks' digests differ")
