"""`driftlog at`: a query on the tables as they were right after an event."""

import argparse
from typing import TYPE_CHECKING

import apsw

from driftlog._sqlite.rows import Row, SqlValue
from driftlog.cli.arguments import Subparsers, UsageError, add_command, add_space, existing
from driftlog.cli.loading import load_app
from driftlog.cli.output import console, print_json, printable
from driftlog.cli.stamps import last_stamp
from driftlog.errors import ForbiddenSQL

if TYPE_CHECKING:
    from rich.table import Table


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(commands, "at", run, "Ask the tables as they were right after a stamp. Nothing is changed.")
    add_space(parser)
    parser.add_argument("stamp", metavar="HLC", type=last_stamp, help="up to this stamp, as `driftlog log` prints it")
    parser.add_argument("sql", metavar="SQL", help="a query, such as 'SELECT * FROM todo'")


def run(options: argparse.Namespace) -> int:
    """Print the rows."""
    with load_app(options.app).open(existing(options.path)) as space, space.at(options.stamp) as past:
        try:
            rows = past.query(options.sql)
        except ForbiddenSQL as error:
            raise UsageError(str(error)) from error
        except apsw.Error as error:
            # The tables are in memory: what fails is the query, or the parameters that it wants and is not given.
            raise UsageError(f"SQLite refuses `{options.sql}`: {error}; correct it") from error
    if options.json:
        print_json({"rows": [row._asdict() for row in rows]})
    elif rows:
        console().print(_table(rows))
    return 0


def _table(rows: list[Row]) -> "Table":
    from rich.table import Table
    from rich.text import Text  # texts, not markup: what the rows hold may have brackets

    table = Table(box=None, pad_edge=False)
    for name in rows[0]._asdict():
        table.add_column(Text(printable(name)))
    for row in rows:
        table.add_row(*(Text(_shown(value)) for value in row._asdict().values()))
    return table


def _shown(value: SqlValue) -> str:
    match value:
        case None:
            return "NULL"
        case bytes():
            return value.hex()
        case _:
            return printable(str(value))
