"""How commands speak: JSON for programs, Rich for people, and numbers as people read them.

Rich is imported when something is drawn, not before: with `--json`, every command works without it.
"""

import json
import sys
from typing import TYPE_CHECKING

from driftlog.errors import DriftlogError

if TYPE_CHECKING:
    from rich.console import Console


class MissingExtra(DriftlogError):
    """A library that only the command line needs is not installed."""


def console(*, is_error: bool = False) -> "Console":
    """Give a Rich console on standard output or standard error."""
    try:
        from rich.console import Console
    except ModuleNotFoundError:
        raise MissingExtra('the Rich library is not installed: pip install "driftlog[cli]", or use --json') from None
    # Colours follow the terminal, but digits and paths are not guessed at: a digest is not a number.
    return Console(stderr=is_error, highlight=False, soft_wrap=True)


def print_json(value: object, *, is_line: bool = False) -> None:
    """Print a value as JSON; bytes as hexadecimal digits. `is_line` puts it on one line, for streams of values."""
    print(json.dumps(value, default=_plain, ensure_ascii=False, indent=None if is_line else 2), flush=True)


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def note(text: str) -> None:
    """Say something to a person that is not part of the answer."""
    print(text, file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Give text that moves no cursor and sets no colour: what other devices wrote is not for the terminal to obey."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def size(count: int) -> str:
    """Give a number of bytes as people read it: 999 B, 1.2 kB, 3.4 MB."""
    if count < 1_000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1_000:.1f} kB"
    return f"{count / 1_000_000:.1f} MB"
