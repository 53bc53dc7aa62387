"""What a query reads, as SQLite itself says: the b-trees that its program opens, and the columns that its text names.

The program is the ground truth for tables: an answer is a function of what the program can open. Columns are those that the
authorizer was asked about, and all of each index that is used, because without ORDER BY rows come in the order of the scan.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import apsw

from driftlog._sqlite.confine import JSON_TABLES
from driftlog._sqlite.rows import Parameters, raw_rows
from driftlog._sqlite.sqltext import fold

# SQL: every b-tree of the file: its root, its name, and the table it is of.
_TREES = "SELECT rootpage, type, name, tbl_name FROM sqlite_schema WHERE rootpage > 0"
_SCHEMA_ROOT = 1


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


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a query reads whenever it runs."""

    columns_by_table: Mapping[str, frozenset[int] | None]
    """By the tables' names; None for all columns. That a row comes or goes counts always, and so do the key's columns."""
    functions: frozenset[str]
    is_opaque: bool
    """Whether it also reads something that is no table of the file, and may change unseen."""


def shapes_of(connection: apsw.Connection) -> dict[str, Shape]:
    """Give all tables of the file, by their folded names."""
    # SQL: the tables there are, and whether their columns hold values of their types only.
    listed = raw_rows(connection, "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'")
    return {fold(name): _shape(connection, name, is_strict=bool(is_strict)) for name, is_strict in list(listed)}


def _shape(connection: apsw.Connection, name: str, *, is_strict: bool) -> Shape:
    columns = list(raw_rows(connection, "SELECT name, upper(type), pk, hidden FROM pragma_table_xinfo(?)", (name,)))
    keyed = sorted((pk, place) for place, (_, _, pk, _) in enumerate(columns) if pk)
    types = ["INTEGER" if kind == "INT" else kind for _, kind, _, _ in columns]
    return Shape(
        name,
        tuple(fold(column) for column, *_ in columns),
        tuple(types if is_strict else [""] * len(columns)),
        tuple(str(connection.column_metadata("main", name, column)[1]).upper() == "BINARY" for column, *_ in columns),
        tuple(place for _, place in keyed),
        all(hidden == 0 for *_, hidden in columns),
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
    )


def _indexed(connection: apsw.Connection, table: str, index: str) -> set[int] | None:
    """Give the columns of an index; None where it holds expressions or some rows only."""
    places = {place for (place,) in raw_rows(connection, "SELECT cid FROM pragma_index_xinfo(?)", (index,))}
    # SQL: whether an index is of some rows only.
    is_partial = connection.execute("SELECT partial FROM pragma_index_list(?) WHERE name = ?", (table, index)).get
    # A rowid is the key, which counts anyway; -2 is an expression.
    return None if is_partial or -2 in places else {place for place in places if place >= 0}
