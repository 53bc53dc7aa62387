"""`python -m bench [WHAT] [--json]`: measure, and print. `--help` lists what there is; without it, all."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bench import append, large, late, live, reading, receive, recording, report, simulating, size, waiting, waking
from bench.rounds import Amount, Figure
from bench.size import Cost

SPEEDS: Final[dict[str, Callable[[Path], Iterator[Figure] | Iterator[Figure | Amount]]]] = {
    "append": append.measure,
    "receive": receive.measure_receiving,
    "reading": reading.measure,
    "waiting": waiting.measure,
    "waking": waking.measure,
    "rebuild": receive.measure_rebuilding,
    "late": late.measure,
    "recording": recording.measure,
    "large": large.measure,
    "live": live.measure,
    "simulating": simulating.measure,
}
BYTES: Final = "bytes"
ALL: Final = "all"


def main() -> int:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="?", default=ALL, choices=(*SPEEDS, BYTES, ALL), help="what to measure")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    parser.add_argument(
        "--directory", type=Path, help="the disk to measure on (default: that of the system's temporary files)"
    )
    arguments = parser.parse_args()
    results: list[Figure | Amount] = []
    costs: list[Cost] = []
    for name in (*SPEEDS, BYTES) if arguments.what == ALL else (arguments.what,):
        with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
            if name == BYTES:
                costs += size.measure(Path(directory))
            else:
                results += _shown(SPEEDS[name](Path(directory)))
    figures = [result for result in results if isinstance(result, Figure)]
    amounts = [result for result in results if isinstance(result, Amount)]
    command = " ".join(["python -m bench", *sys.argv[1:]])
    if arguments.json:
        print(report.as_json(command, figures, amounts, costs))
        return 0
    tables = [report.heading(command)]
    if figures:
        tables.append(report.speed_table(figures))
    if amounts:
        tables.append(report.amount_table(amounts))
    if costs:
        tables.append(report.size_table(costs))
    print("\n\n".join(tables))
    return 0


def _shown(results: Iterator[Figure] | Iterator[Figure | Amount]) -> Iterator[Figure | Amount]:
    """Tell a person who waits how it goes; standard output is for the result."""
    for result in results:
        match result:
            case Figure():
                print(f"{result.work}: {result.ours.median:,.0f}/s, ratio {result.ratio.median:.2f}", file=sys.stderr)
            case Amount():
                print(f"{result.what}: {result.value:,.4g} {result.unit}", file=sys.stderr)
        yield result


if __name__ == "__main__":
    sys.exit(main())
