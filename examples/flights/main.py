"""Three airports' desks record a year of departures apart, sync through a relay, and agree with plain Python.

python -m examples.flights              # 2013, all of it: about a million events
python -m examples.flights --days 31    # January
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from examples.flights.data import load
from examples.flights.expected import CarrierRow
from examples.flights.run import Result, run

from driftlog import DriftlogError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the example. Gives 0 if every desk's tables equal what plain Python computes, 1 if not."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.flights", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=_positive, help="only the first DAYS days of the year")
    parser.add_argument("--apart", type=_positive, default=1, metavar="DAYS", help="days between syncs (default 1)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the databases there; DIR must hold none yet")
    options = parser.parse_args(argv)
    begun = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - begun:6.1f} s  {text}", flush=True)

    with ExitStack() as stack:
        if options.keep is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="driftlog-flights-")))
        else:
            directory = options.keep
            directory.mkdir(parents=True, exist_ok=True)
            if any(directory.glob("*.db")):
                parser.error(f"{directory} holds databases already; give a directory without any")
        try:
            flights = load(options.days)
            say(f"{len(flights):,} flights loaded")
            result = run(flights, directory, options.apart, say)
        except DriftlogError as error:
            print(f"flights: {error}", file=sys.stderr)
            return 1
    print()
    print("\n".join(report(result)))
    return 1 if result.differences else 0


def report(result: Result) -> list[str]:
    """Give the lines that sum a run up."""
    lines = [f"{'':8}{'recorded':>10}{'append/s':>10}{'sent':>10}{'received':>10}{'file':>10}"]
    for name, ledger in result.ledger_by_desk.items():
        lines.append(
            f"{name:8}{ledger.events:>10,}{_rate(ledger.events, ledger.record_seconds):>10}"
            f"{_mega(ledger.bytes_sent):>10}{_mega(ledger.bytes_received):>10}"
            f"{_mega(result.file_bytes_by_desk[name]):>10}"
        )
    lines.append(f"{'relay':8}{'':>40}{_mega(result.relay_bytes):>10}")
    exchanged = result.events * (len(result.ledger_by_desk) - 2)
    lines += [
        "",
        f"append    {_rate(result.events, result.record_seconds)} events/s, all desks at once, to disk",
        f"send      {_rate(result.events, result.exchange_seconds)} events/s, all desks at once, while they receive",
        f"receive   {_rate(exchanged, result.exchange_seconds)} events/s, all desks at once, while they send",
        f"catch up  {_rate(result.events, result.office_seconds)} events/s, one new device, the whole log",
        "",
        f"{'carrier':8}{'departed':>10}{'mean delay':>12}{'worst':>8}{'arrived':>10}{'mean delay':>12}{'worst':>8}",
    ]
    lines += [_carrier_line(row) for row in result.tables.carriers]
    cancelled = sum(day.cancelled for day in result.tables.days)
    lines += [
        "",
        f"{len(result.tables.flights):,} flights on {len(result.tables.days):,} airport days, {cancelled:,} cancelled",
    ]
    if result.differences:
        return [*lines, "", "DIFFERENT from plain Python:", *(f"  {line}" for line in result.differences)]
    return [*lines, "every desk's tables equal what plain Python computes from the package's rows"]


def _carrier_line(row: CarrierRow) -> str:
    return (
        f"{row.carrier:8}{row.departures:>10,}{_mean(row.departure_delay_sum, row.departures):>12}"
        f"{row.departure_delay_worst!s:>8}{row.timed_arrivals:>10,}"
        f"{_mean(row.arrival_delay_sum, row.timed_arrivals):>12}{row.arrival_delay_worst!s:>8}"
    )


def _mean(total: int, count: int) -> str:
    return f"{total / count:.1f}" if count else "-"


def _rate(count: int, seconds: float) -> str:
    return f"{count / seconds:,.0f}" if count and seconds else "-"


def _mega(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number
