"""What several commands take: an app, the path of a space, a number; each refused with what to give instead."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from driftlog.errors import DriftlogError, UnusableFile

if TYPE_CHECKING:  # argparse's own name for it is private, and subscriptable for type checkers only
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Subparsers = argparse._SubParsersAction


class UsageError(DriftlogError):
    """The command line names something that cannot be meant."""


def add_command(
    commands: Subparsers, name: str, run: Callable[[argparse.Namespace], int], description: str
) -> argparse.ArgumentParser:
    """Add a command that reports: it takes `--json`. The description's first sentence is its line in the overview."""
    summary = description.partition(". ")[0].rstrip(".")
    parser = commands.add_parser(name, help=summary, description=description)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(run=run)
    return parser


def add_space(parser: argparse.ArgumentParser) -> None:
    """Let a command take APP and PATH."""
    parser.add_argument("app", metavar="APP", help="module:attribute or file.py:attribute, naming an App")
    parser.add_argument("path", metavar="PATH", type=Path, help="the space's database")


def existing(path: Path) -> Path:
    """Give the path back if there is a file with something in it: opening nothing would found a new space there."""
    if not path.exists():
        raise UnusableFile(
            f"{path} does not exist; check the path, or make it with `driftlog join` or app.open(); nothing was created"
        )
    if path.is_dir():
        raise UnusableFile(f"{path} is a directory; give the path of a space's database in it")
    if path.stat().st_size == 0:
        raise UnusableFile(f"{path} is empty: it is not a space; check the path, the file was left as it is")
    return path


QUOTED_CHARS_MAX: Final = 100
"""Longer than anything that is asked for in one word. Of what no terminal shows, each character is written as six."""


def quoted(text: str) -> str:
    """Give a word of the command line as an error says it: quoted, and only the beginning of a very long one."""
    return repr(text) if len(text) <= QUOTED_CHARS_MAX else f"{text[:QUOTED_CHARS_MAX]!r}…"


def positive(text: str) -> int:
    """Read a number of at least 1, as argparse's `type`."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not a number of at least 1")
    return number
