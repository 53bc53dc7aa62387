"""`driftlog demo`: real processes that drift apart, sync, are killed, and end with the same tables; or it says that not."""

import argparse
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from driftlog.cli.arguments import Subparsers, add_command, positive
from driftlog.cli.demonstration.display import Display, Silent, show_result
from driftlog.cli.demonstration.result import Result
from driftlog.cli.demonstration.story import Story
from driftlog.cli.output import console, print_json


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "demo",
        run,
        "Show real devices syncing. It starts a relay and devices as separate processes in a temporary directory, has them "
        "disagree offline, kills one, and compares their tables in the end. Exits with 1 if any claim was broken.",
    )
    parser.add_argument("--seed", type=int, default=1, help="what the devices write is drawn from it (default 1)")
    parser.add_argument(
        "--events", type=positive, default=300, metavar="N", help="events of each device while offline (default 300)"
    )


def run(options: argparse.Namespace) -> int:
    """Run the demo."""
    with (
        _interruptible(),
        tempfile.TemporaryDirectory(prefix="driftlog-demo-", ignore_cleanup_errors=True) as directory,
    ):
        if options.json:
            result = Story(Path(directory), Silent(), seed=options.seed, events=options.events).run()
            print_json(result.to_json())
        else:
            result = _show(Path(directory), options.seed, options.events)
    return 0 if result.is_ok else 1


def _show(directory: Path, seed: int, events: int) -> Result:
    out = console()
    with Display(out) as display:
        result = Story(directory, display, seed=seed, events=events).run()
    show_result(out, result)
    return result


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let being asked to end, by whatever signal, end the processes and remove the directory as Ctrl-C does."""
    names = ("SIGTERM", "SIGHUP", "SIGBREAK")
    numbers = [signal.Signals[name] for name in names if name in signal.Signals.__members__]
    is_main = threading.current_thread() is threading.main_thread()
    previous = {number: signal.signal(number, _interrupt) for number in numbers} if is_main else {}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
