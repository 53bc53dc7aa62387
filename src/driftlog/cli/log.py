"""`driftlog log`: the events of a space in their total order, and what became of each."""

import argparse
from itertools import islice
from typing import Final

from driftlog.cli.arguments import Subparsers, add_command, add_space, existing, positive
from driftlog.cli.entries import draw_entries, entry_json
from driftlog.cli.loading import load_app
from driftlog.cli.output import note, print_json
from driftlog.cli.stamps import first_stamp, last_stamp

LIMIT: Final = 100


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands, "log", run, "Print the log in its total order: stamp, device, event, what became of it."
    )
    add_space(parser)
    parser.add_argument(
        "--limit", type=positive, default=LIMIT, metavar="N", help=f"at most N events (default {LIMIT})"
    )
    parser.add_argument(
        "--after",
        type=last_stamp,
        metavar="HLC",
        help="only events after this stamp, written as this command prints it",
    )
    parser.add_argument("--before", type=first_stamp, metavar="HLC", help="only events before this stamp")


def run(options: argparse.Namespace) -> int:
    """Print the log."""
    limit: int = options.limit
    with load_app(options.app).open(existing(options.path)) as space:
        entries = list(islice(space.log(after=options.after, before=options.before), limit + 1))
    entries, is_more = entries[:limit], len(entries) > limit
    if options.json:
        next_ = str(entries[-1].timestamp) if is_more else None
        print_json({"entries": [entry_json(entry) for entry in entries], "next": next_})
        return 0
    draw_entries(entries)
    if is_more:
        note(f"there is more: --after {entries[-1].timestamp}")
    return 0
