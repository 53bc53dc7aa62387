"""`driftlog join`: makes this device a member of the space that a link names."""

import argparse
from pathlib import Path

from driftlog.cli.arguments import Subparsers, add_command, add_space
from driftlog.cli.loading import load_app
from driftlog.cli.output import note, print_json
from driftlog.cli.sync import add_patience, exchange_once, summary
from driftlog.errors import UnusableFile


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "join",
        run,
        "Join the space that an invite link names, with a new database. It holds no events until it syncs.",
    )
    add_space(parser)
    parser.add_argument("link", metavar="LINK", help="what `driftlog invite` printed on another device")
    parser.add_argument("--sync", metavar="URL", help="exchange with this relay at once")
    add_patience(parser)


def run(options: argparse.Namespace) -> int:
    """Join, and exchange if a relay is given."""
    app = load_app(options.app)
    path: Path = options.path
    if path.exists():
        raise UnusableFile(f"{path} exists already; join with the path of a new file, this one was left as it is")
    with app.join(path, options.link) as space:
        answer: dict[str, object] = {"path": str(path), "space": space.space_id, "device": space.device}
        if not options.json:
            note(f"{path} is device {space.device[:4].hex()} of space {space.space_id[:4].hex()}")
        if options.sync is not None:
            state = exchange_once(space, options.sync, patience_seconds=options.patience, is_quiet=options.json)
            answer |= {"sync": summary(options.sync, state), "events": space.status().events}
        elif not options.json:
            note(f"it holds no events yet: driftlog sync {options.app} {path} wss://...")
    if options.json:
        print_json(answer)
    return 0
