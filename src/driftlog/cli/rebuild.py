"""`driftlog rebuild`: makes the tables anew from the log, and shows how far it is.

Opening a file with a changed app rebuilds by itself; then there is nothing left to do, and nothing to compare with.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from driftlog._store.rebuilding import Progress
from driftlog.cli.arguments import Subparsers, add_command, add_space, existing
from driftlog.cli.loading import load_app
from driftlog.cli.output import console, print_json
from driftlog.space.app import App


class Rebuilt(NamedTuple):
    """What there was to do, and what came of it."""

    replayed: int
    seconds: float
    before: bytes | None
    """The digest of the tables as they were; None if another version of the app had made them."""
    after: bytes


def add(commands: Subparsers) -> None:
    """Add the command."""
    add_space(
        add_command(
            commands,
            "rebuild",
            run,
            "Make the tables anew from the log, in one transaction. Interrupted, it leaves the tables as they were.",
        )
    )


def run(options: argparse.Namespace) -> int:
    """Rebuild."""
    app, path = load_app(options.app), existing(options.path)
    if options.json or not sys.stderr.isatty():
        rebuilt = _rebuild(app, path, lambda _, __: None)
    else:
        with _bar() as progress:
            rebuilt = _rebuild(app, path, progress)
    if options.json:
        print_json(
            {
                "replayed": rebuilt.replayed,
                "seconds": round(rebuilt.seconds, 3),
                "digest": rebuilt.after,
                "was_outdated": rebuilt.before is None,
                "was_different": None if rebuilt.before is None else rebuilt.before != rebuilt.after,
            }
        )
    else:
        print(f"{rebuilt.replayed:,} events replayed in {rebuilt.seconds:.1f} s; {_verdict(rebuilt)}")
    return 0


def _rebuild(app: App, path: Path, progress: Progress) -> Rebuilt:
    replayed: int | None = None

    def note(done: int, in_all: int) -> None:
        nonlocal replayed
        replayed = done
        progress(done, in_all)

    begun = time.perf_counter()
    with app.open(path, progress=note) as space:
        if replayed is not None:
            return Rebuilt(replayed, time.perf_counter() - begun, None, space.digest())
        before = space.digest()
        begun = time.perf_counter()
        count = space.rebuild(progress)
        return Rebuilt(count, time.perf_counter() - begun, before, space.digest())


@contextmanager
def _bar() -> Iterator[Progress]:
    """Draw a bar on standard error, and give what moves it."""
    terminal = console(is_error=True)
    # After `console`, which says what to do if Rich is not installed.
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, transient=True) as bar:
        task = bar.add_task("replaying", total=None)
        yield lambda done, in_all: bar.update(task, completed=done, total=in_all)


def _verdict(rebuilt: Rebuilt) -> str:
    digest = rebuilt.after[:8].hex()
    if rebuilt.before is None:
        return f"another version of the app had made the tables; digest {digest}"
    if rebuilt.before == rebuilt.after:
        return f"the tables are as they were, digest {digest}"
    return f"the tables were different from what the log says, and are mended; digest {digest}"
