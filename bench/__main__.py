"""`python -m bench [append|receive|waiting|waking|rebuild|late|recording|large|bytes|all] [--json]`: measure, and print."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bench import append, large, late, receive, recording, report, size, waiting, waking
from bench.rounds import Figure
from bench.size import Cost

SPEEDS: Final[dict[str, Callable[[Path], Iterator[Figure]]]] = {
    "append": append.measure,
    "receive": receive.measure_receiving,
    "waiting": waiting.measure,
    "waking": waking.measure,
    "rebuild": receive.measure_rebuilding,
    "late": late.measure,
    "recording": recording.measure,
    "large": large.measure,
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
    figures: list[Figure] = []
    costs: list[Cost] = []
    for name in (*SPEEDS, BYTES) if arguments.what == ALL else (arguments.what,):
        with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
            if name == BYTES:
                costs += size.measure(Path(directory))
            else:
                figures += _shown(SPEEDS[name](Path(directory)))
    command = " ".join(["python -m bench", *sys.argv[1:]])
    if arguments.json:
        print(report.as_json(command, figures, costs))
        return 0
    tables = [report.speed_table(figures)] * bool(figures) + [report.size_table(costs)] * bool(costs)
    print("\n\n".join([report.heading(command), *tables]))
    return 0


def _shown(figures: Iterator[Figure]) -> Iterator[Figure]:
    """Tell a person who waits how it goes; standard output is for the result."""
    for figure in figures:
        print(f"{figure.work}: {figure.ours.median:,.0f}/s, ratio {figure.ratio.median:.2f}", file=sys.stderr)
        yield figure


if __name__ == "__main__":
    sys.exit(main())
