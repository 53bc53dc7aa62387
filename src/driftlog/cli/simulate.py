"""`driftlog simulate`: fleets of devices with an app go through faults of all kinds, drawn from seeds, and must agree.

Exit code 1 if a seed failed, or nothing was appended. The simulator is imported when it runs, not before: no other
command needs it.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from driftlog.cli.arguments import Subparsers, UsageError, add_command, positive
from driftlog.cli.loading import NoWork
from driftlog.cli.output import console, note, print_json, printable

if TYPE_CHECKING:
    from driftlog.testing.simulation.campaign import Campaign
    from driftlog.testing.simulation.simulating import Explanation

NOTE_EVERY_S: Final = 10
"""Where there is no terminal to draw on: a line in a log of CI, often enough to see that it is alive."""


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "simulate",
        run,
        "Run simulated fleets with an app through faults of all kinds. All devices must agree in the end; of a seed where "
        "they do not, say which faults it takes and how to run it again.",
    )
    parser.add_argument("app", metavar="APP", help="module:attribute or file.py:attribute, naming an App")
    parser.add_argument("--work", metavar="WORK", help="the function that does what a user does; work, beside APP")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seeds", type=positive, default=100, metavar="N", help="how many (100)")
    which.add_argument("--seed", type=int, metavar="N", help="run this one only")
    parser.add_argument("--start", type=int, default=0, metavar="N", help="the first of the seeds (0)")
    parser.add_argument(
        "--faults", type=positive, nargs=2, metavar=("MIN", "MAX"), help="how many in each seed (30 40)"
    )


def run(options: argparse.Namespace) -> int:
    """Simulate."""
    from driftlog.testing.simulation.campaign import Asked, campaign, quiet
    from driftlog.testing.simulation.command import summary
    from driftlog.testing.simulation.simulating import USUAL_FAULTS, nothing_shown

    faults = USUAL_FAULTS if options.faults is None else (options.faults[0], options.faults[1])
    if faults[0] > faults[1]:
        raise UsageError(f"--faults {faults[0]} {faults[1]} begins above its end; give the lesser number first")
    work = options.work or f"{options.app.rpartition(':')[0]}:work"
    asked = Asked(((options.app, work),), faults)
    try:
        versions = asked.versions()
    except NoWork as error:
        if options.work is None:
            raise UsageError(f"{error}; name it with --work file.py:function if it is elsewhere") from None
        raise
    seeds = range(options.start, options.start + options.seeds) if options.seed is None else [options.seed]
    explained: list[Explanation] = []

    def tell(explanation: "Explanation") -> None:
        explained.append(explanation)
        if not options.json:
            print("\n".join(printable(line) for line in str(explanation).split("\n")), end="\n\n", flush=True)

    with quiet(), _progress(len(seeds), is_drawn=sys.stderr.isatty() and not options.json) as progress:
        found = campaign(
            asked,
            versions,
            seeds,
            jobs=1,
            command=lambda seed: _command(options, seed),
            tell=tell,
            progress=progress,
        )
    if options.json:
        print_json(_plain(found, explained))
    else:
        seeds_run = f"{found.simulated.seeds} seed{'s' * (found.simulated.seeds != 1)}"
        print(f"{seeds_run}, {len(found.failed)} failed; {summary(found)}")
    if not found.failed and found.simulated.events == 0:
        note(nothing_shown(work))
        return 1
    return min(len(found.failed), 1)


def _command(options: argparse.Namespace, seed: int) -> str:
    words = ["driftlog", "simulate", options.app, "--seed", str(seed)]
    if options.work is not None:
        words += ["--work", options.work]
    if options.faults is not None:
        words += ["--faults", *map(str, options.faults)]
    return shlex.join(words)


def _plain(found: "Campaign", explained: "list[Explanation]") -> dict[str, object]:
    simulated = found.simulated
    return {
        "seeds": simulated.seeds,
        "failed": found.failed,
        "explained": [asdict(one) for one in explained],
        "faults": dict(simulated.faults),
        "events": simulated.events,
        "converged_ms_max": simulated.converged_ms_max,
    }


@contextmanager
def _progress(in_all: int, *, is_drawn: bool) -> "Iterator[Callable[[Campaign], None]]":
    """Give what is told of every seed: it draws a bar on a terminal, and elsewhere says a line now and then."""
    if not is_drawn:
        yield _noting(in_all)
        return
    terminal = console(is_error=True)
    # After `console`, which says what to do if Rich is not installed.
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # What is printed meanwhile goes above the bar, but not away from a file that standard output was sent to.
    with Progress(*columns, console=terminal, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task("0 failed", total=in_all)
        yield lambda found: bar.update(task, completed=found.simulated.seeds, description=f"{len(found.failed)} failed")


def _noting(in_all: int) -> "Callable[[Campaign], None]":
    told = time.monotonic()

    def progress(found: "Campaign") -> None:
        nonlocal told
        if time.monotonic() - told > NOTE_EVERY_S:
            told = time.monotonic()
            note(f"{found.simulated.seeds} of {in_all} seeds, {len(found.failed)} failed")

    return progress
