"""`driftlog invite`: prints the link with which another device joins."""

import argparse

from driftlog.cli.arguments import Subparsers, add_command, add_space, existing
from driftlog.cli.loading import load_app
from driftlog.cli.output import note, print_json


def add(commands: Subparsers) -> None:
    """Add the command."""
    add_space(
        add_command(
            commands,
            "invite",
            run,
            "Print a link with which another device joins the space. Whoever holds the link can read and write the space.",
        )
    )


def run(options: argparse.Namespace) -> int:
    """Print the link: on standard output alone, so that it can be piped."""
    with load_app(options.app).open(existing(options.path)) as space:
        link = space.invite()
    if options.json:
        print_json({"link": link})
    else:
        note("Whoever holds this link is a member of the space; hand it over as you would a key:")
        print(link)
    return 0
