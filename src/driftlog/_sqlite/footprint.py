"""What a query reads, as SQLite itself says: the b-trees that its program opens, and the columns that its text names.

The program is the ground truth for tables: an answer is a function of what the program can open. Columns are those that the
authorizer was asked about, and all of each index that is used, because without ORDER BY rows come in the order of the scan.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import apsw

from driftlog._sqlite.confine import JSON_TABLES
from driftlog._sqlite.rows import Parameters, raw_rows
from driftlog._sqlite.sqltext import fold

UNREPEATABLE: Final = frozenset({"random", "randomblob", "changes", "total_changes", "last_insert_rowid"})
"""Functions that give another answer whenever they are asked."""
CLOCKS: Final = frozenset(
    {"date", "time", "datetime", "julianday", "unixepoch", "strftime", "timediff"}
    | {"current_date", "current_time", "current_timestamp"}
)
"""Functions whose answer time changes, or may."""

# SQL: every b-tree of the file: its root, its name, and the table it is of.
_TREES = "SELECT rootpage, type, name, tbl_name FROM sqlite_schema WHERE rootpage > 0"
# SQL: the columns of the primary key's index, which is the table itself where that has no rowid.
_KEY_INDEX = """
SELECT part.cid, part.desc FROM pragma_index_list(?) AS tree, pragma_index_xinfo(tree.name) AS part
WHERE tree.origin = 'pk' AND part.key ORDER BY part.seqno
"""
_SCHEMA_ROOT = 1
_OF_A_SCAN = frozenset(
    {
        "Init",
        "Transaction",
        "Goto",
        "OpenRead",
        "Rewind",
        "Next",
        "Rowid",
        "Column",
        "ResultRow",
        "DecrJumpZero",
        "Halt",
    }
    | {"Integer", "Int64", "String8", "Blob", "Null", "Real", "Variable", "Copy", "SCopy", "Noop", "Once", "MustBeInt"}
    | {
        "Eq",
        "Ne",
        "Lt",
        "Le",
        "Gt",
        "Ge",
        "If",
        "IfNot",
        "IsNull",
        "NotNull",
        "And",
        "Or",
        "Not",
        "CollSeq",
        "Affinity",
    }
    | {"Function", "PureFunc", "Concat", "Add", "Subtract", "Multiply", "Divide", "Remainder", "Cast", "RealAffinity"}
)
"""Steps of a program that gives rows as they come: none seeks, sorts, or opens anything else."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A table as the images of its rows show it."""

    name: str
    columns: tuple[str, ...]
    """Folded, in the order of the images."""
    types: tuple[str, ...]
    """Upper case, INT written INTEGER; empty where values of other types than the column's may be in it."""
    is_binary: tuple[bool, ...]
    """Whether text in the column is equal only if it is identical."""
    key: tuple[int, ...]
    is_plain: bool
    """Whether images hold just these columns; no generated ones."""
    tree: tuple[tuple[int, bool], ...] = ()
    """By which columns its b-tree is ordered, and whether descending; empty where that is no column."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a query reads whenever it runs."""

    columns_by_table: Mapping[str, frozenset[int] | None]
    """By the tables' names; None for all columns. That a row comes or goes counts always, and so do the key's columns."""
    functions: frozenset[str]
    """That are called in it; perhaps more, but none of `UNREPEATABLE` and `CLOCKS` that is not."""
    is_opaque: bool
    """Whether it also reads something that is no table of the file, and may change unseen."""
    is_scan: bool = False
    """Whether it goes through one table's b-tree from the first row to the last, and does nothing else."""


def shapes_of(connection: apsw.Connection) -> dict[str, Shape]:
    """Give all tables of the file, by their folded names."""
    # SQL: the tables there are, and whether their columns hold values of their types only.
    listed = raw_rows(
        connection, "SELECT name, strict, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
    )
    return {
        fold(name): _shape(connection, name, is_strict=bool(is_strict), has_rowid=not wr)
        for name, is_strict, wr in list(listed)
    }


def _shape(connection: apsw.Connection, name: str, *, is_strict: bool, has_rowid: bool) -> Shape:
    columns = list(raw_rows(connection, "SELECT name, upper(type), pk, hidden FROM pragma_table_xinfo(?)", (name,)))
    keyed = sorted((pk, place) for place, (_, _, pk, _) in enumerate(columns) if pk)
    indexed = list(raw_rows(connection, _KEY_INDEX, (name,)))
    if has_rowid:
        # A key without an index is the rowid.
        tree = [] if indexed or len(keyed) != 1 else [(keyed[0][1], False)]
    else:
        tree = [(column, bool(is_descending)) for column, is_descending in indexed]
    types = ["INTEGER" if kind == "INT" else kind for _, kind, _, _ in columns]
    return Shape(
        name,
        tuple(fold(column) for column, *_ in columns),
        tuple(types if is_strict else [""] * len(columns)),
        tuple(str(connection.column_metadata("main", name, column)[1]).upper() == "BINARY" for column, *_ in columns),
        tuple(place for _, place in keyed),
        all(hidden == 0 for *_, hidden in columns),
        tuple(tree),
    )


def footprint_of(
    connection: apsw.Connection, shapes: Mapping[str, Shape], sql: str, parameters: Parameters, *, joins_by_name: bool
) -> Footprint:
    """Find out what a query reads. Compiles it, so that whatever is wrong with it is raised as when it runs.

    `joins_by_name` says that it joins NATURAL or USING columns, about which SQLite asks nobody.
    """
    read: set[tuple[str, str]] = set()
    functions: set[str] = set()

    def note(action: int, first: str | None, second: str | None, _database: str | None, _inner: str | None) -> int:
        if action == apsw.SQLITE_READ:
            read.add((fold(first or ""), fold(second or "")))
        elif action == apsw.SQLITE_FUNCTION:
            functions.add(fold(second or ""))
        return apsw.SQLITE_OK

    before = connection.authorizer
    connection.authorizer = note
    try:
        # A statement that was compiled before is not asked about again, so the cache is passed by.
        program: list[Any] = connection.execute(f"EXPLAIN {sql}", parameters, can_cache=False).fetchall()
    finally:
        connection.authorizer = before
    # It is also asked about the DEFAULT of each column that is read, which no query calls. What is called is in the program
    # by name, unless SQLite has steps for it instead, as for coalesce().
    called = {fold(str(step[5]).partition("(")[0]) for step in program}
    functions -= (UNREPEATABLE | CLOCKS) - called
    trees = {root: (kind, name, fold(table)) for root, kind, name, table in raw_rows(connection, _TREES)}
    opened: set[int] = {step[3] for step in program if step[1] in ("OpenRead", "ReopenIdx")}
    known = opened & trees.keys()
    names = {trees[root][2] for root in known}
    coarse = {name for name in names if joins_by_name or not shapes[name].is_plain}
    columns: dict[str, set[int]] = {name: set(shapes[name].key) for name in names}
    for name, column in read:
        if name in columns and column in shapes[name].columns:
            columns[name].add(shapes[name].columns.index(column))
    for kind, index, name in [trees[root] for root in known]:
        if kind == "index":
            used = _indexed(connection, shapes[name].name, index)
            if used is None:
                coarse.add(name)
            else:
                columns[name] |= used
    strangers = {name for name, _ in read} - names - JSON_TABLES
    is_virtual = any(step[1] == "VOpen" for step in program)
    return Footprint(
        {shapes[name].name: None if name in coarse else frozenset(columns[name]) for name in names},
        frozenset(functions),
        bool(opened - trees.keys()) or _SCHEMA_ROOT in opened or (is_virtual and bool(strangers)),
        _is_scan(program, {root for root, (kind, *_) in trees.items() if kind == "table"}),
    )


def _is_scan(program: list[Any], tables: set[int]) -> bool:
    steps = [(step[1], step[2]) for step in program]
    loops = [step for step in steps if step[0] in ("OpenRead", "Rewind", "Next")]
    return (
        all(name in _OF_A_SCAN for name, _ in steps)
        and [name for name, _ in loops] == ["OpenRead", "Rewind", "Next"]
        and len({cursor for _, cursor in loops}) == 1
        and all(step[3] in tables for step in program if step[1] == "OpenRead")
    )


def _indexed(connection: apsw.Connection, table: str, index: str) -> set[int] | None:
    """Give the columns of an index; None where it holds expressions or some rows only."""
    places = {place for (place,) in raw_rows(connection, "SELECT cid FROM pragma_index_xinfo(?)", (index,))}
    # SQL: whether an index is of some rows only.
    is_partial = connection.execute("SELECT partial FROM pragma_index_list(?) WHERE name = ?", (table, index)).get
    # A rowid is the key, which counts anyway; -2 is an expression.
    return None if is_partial or -2 in places else {place for place in places if place >= 0}
