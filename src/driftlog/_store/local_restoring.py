"""Which tables of a damaged file are local: nothing else holds their rows, so a repair must not leave one out."""

from collections.abc import Callable, Collection
from typing import Final

import apsw

from driftlog._sqlite.rows import raw_rows
from driftlog._sqlite.sqltext import fold
from driftlog._store.facts import is_damaged_copy
from driftlog._store.local import local_names
from driftlog._store.program import Program
from driftlog.errors import Corrupt

# As a rebuild tells them: whatever is not the engine's or SQLite's own is the app's.
_APP_TABLES: Final = """
SELECT name, sql FROM sqlite_schema
WHERE type = 'table' AND substr(name, 1, 9) <> 'driftlog_' AND substr(name, 1, 7) <> 'sqlite_'
"""


def local_tables(source: apsw.Connection, program: Program, found: Callable[[str, str, str], None]) -> dict[str, str]:
    """Give the text of each local table by its name, those that this version of the app no longer declares included.

    `found` is told the part, the problem and the remedy of what is wrong.
    """
    declared = {fold(table.name): table.sql for table in program.local.tables}
    try:
        made = {fold(str(name)): str(sql) for name, sql in raw_rows(source, _APP_TABLES)}
    except (apsw.Error, UnicodeDecodeError) as error:
        found("structure", f"the names of tables cannot be read ({error})", "repair keeps those declared")
        return declared
    for table in program.tables.tables:
        made.pop(fold(table.name), None)
    try:
        stated = local_names(source)
        names = _meant_tables(stated, made)
    except (Corrupt, apsw.Error) as error:
        found("fact", str(error), "repair takes all tables that are nobody else's")
        names = frozenset(made)
    else:
        if names != stated:
            found("fact", "what is called a local table is none", "repair finds the one that is meant")
    return {name: made[name] for name in sorted(names) if name in made} | declared


def _meant_tables(stated: frozenset[str], made: Collection[str]) -> frozenset[str]:
    """Give the names of local tables, each that is no table's any more replaced by the table's that it must have been."""
    meant: set[str] = set()
    for name in stated:
        near = [one for one in made if one not in stated and is_damaged_copy(name.encode(), one.encode())]
        meant.add(near[0] if name not in made and len(near) == 1 else name)
    return frozenset(meant)
