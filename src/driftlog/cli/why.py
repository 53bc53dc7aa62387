"""`driftlog why`: the events that made a row what it is."""

import argparse
from collections.abc import Callable, Sequence
from typing import Final

from driftlog._sqlite.rows import SqlValue
from driftlog.cli.arguments import Subparsers, add_command, add_space, existing
from driftlog.cli.entries import draw_entries, entry_json
from driftlog.cli.loading import load_app
from driftlog.cli.output import print_json
from driftlog.errors import DriftlogError
from driftlog.space.space import Space


class NoSuchRow(DriftlogError):
    """No event has ever touched a row with the key."""


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands, "why", run, "Print the events that made, changed or removed a row. It fails if there is none."
    )
    add_space(parser)
    parser.add_argument("table", metavar="TABLE", help="one of the app's tables")
    parser.add_argument(
        "key",
        metavar="KEY",
        nargs="+",
        help="the row's primary key, a value for each of its columns in their order; bytes as hexadecimal digits",
    )


def run(options: argparse.Namespace) -> int:
    """Print a row's history."""
    with load_app(options.app).open(existing(options.path)) as space:
        entries = space.why(options.table, read_key(space, options.table, options.key))
    if not entries:
        raise NoSuchRow(
            f"no event has touched a row {' '.join(options.key)} of {options.table}; "
            "check the key, or sync, if another device has made it"
        )
    if options.json:
        print_json({"entries": [entry_json(entry) for entry in entries]})
    else:
        draw_entries(entries)
    return 0


def read_key(space: Space, table: str, texts: Sequence[str]) -> list[SqlValue]:
    """Give a key's texts as values of its columns' types; what cannot be read stays text, for `space.why` to refuse."""
    # SQL: the types of the key's columns, none if there is no such table.
    columns = space.query("SELECT type FROM pragma_table_xinfo(?) WHERE pk ORDER BY pk", (table,))
    types: list[str] = [column.type.upper() for column in columns]
    # A wrong number of values is refused whatever their types.
    return [_value(text, kind) for text, kind in zip(texts, types + ["TEXT"] * len(texts), strict=False)]


_READERS: Final[dict[str, tuple[Callable[[str], SqlValue], ...]]] = {
    "INT": (int,),
    "INTEGER": (int,),
    "REAL": (float,),
    "BLOB": (bytes.fromhex,),
    # What reads as an integer is one, as in SQL; for a text of digits, or a float, there is Python.
    "ANY": (int,),
}


def _value(text: str, kind: str) -> SqlValue:
    for read in _READERS.get(kind, ()):
        try:
            return read(text)
        except ValueError:
            continue
    return text
