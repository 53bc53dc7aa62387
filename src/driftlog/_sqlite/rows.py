"""Rows as people read them: a tuple with names, `row.id`, `row["id"]`, `row[0]`.

One class is made for each list of column names and kept, so that a row costs what its tuple costs.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, ClassVar, SupportsIndex

import apsw

SqlValue = None | int | float | str | bytes
Parameters = Sequence[SqlValue] | Mapping[str, SqlValue]


class Row(tuple[SqlValue, ...]):
    """One row of an answer: a tuple whose items also go by their column's name."""

    __slots__ = ()
    _place_by_name: ClassVar[dict[str, int]] = {}

    # What a column holds is decided by SQL, which no type checker reads: `Any` lets callers state it.
    def __getitem__(self, key: str | SupportsIndex | slice) -> Any:
        if isinstance(key, str):
            try:
                key = self._place_by_name[key]
            except KeyError:
                raise KeyError(f"no column {key!r}; this row has {', '.join(self._place_by_name)}") from None
        return tuple.__getitem__(self, key)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no column {name!r}; this row has {', '.join(self._place_by_name)}")

    def _asdict(self) -> dict[str, SqlValue]:
        return {name: self[place] for name, place in self._place_by_name.items()}

    def __repr__(self) -> str:
        return f"Row({', '.join(f'{name}={self[place]!r}' for name, place in self._place_by_name.items())})"


@lru_cache(maxsize=1024)
def row_class(names: tuple[str, ...]) -> type[Row]:
    """Give the class of rows with these column names; of two columns with one name, the first goes by it."""
    place_by_name: dict[str, int] = {}
    for place, name in enumerate(names):
        place_by_name.setdefault(name, place)
    namespace: dict[str, object] = {"__slots__": (), "_place_by_name": place_by_name}
    for name, place in place_by_name.items():
        # Columns named like a method of tuple (`count`, `index`) win: rows are read for their columns.
        if re.fullmatch(r"[A-Za-z]\w*", name):
            namespace[name] = property(itemgetter(place))
    return type("Row", (Row,), namespace)


def raw_rows(connection: apsw.Connection, sql: str, parameters: Parameters = ()) -> Iterator[tuple[Any, ...]]:
    """Run a query on the engine's own tables and give its rows as plain tuples.

    `Any`, because the tables are STRICT and their columns' types are SQLite's promise, not the type checker's.
    """
    return connection.execute(sql, parameters)


def fetch_all(connection: apsw.Connection, sql: str, parameters: Parameters = ()) -> list[Row]:
    """Run a query and give its rows."""
    cursor = connection.execute(sql, parameters)
    try:
        first = cursor.fetchone()
        if first is None:
            return []
        make = row_class(tuple([column[0] for column in cursor.get_description()]))
        rows = [make(first)]
        rows += map(make, cursor)
    except BaseException:
        # A row that is no text ends it in the middle, and the error would keep the statement open as long as it lives.
        cursor.close(force=True)
        raise
    return rows


def fetch_one(connection: apsw.Connection, sql: str, parameters: Parameters = ()) -> Row | None:
    """Run a query and give its first row, or None. What follows is not computed."""
    cursor = connection.execute(sql, parameters)
    try:
        first = cursor.fetchone()
        if first is None:
            return None
        return row_class(tuple([column[0] for column in cursor.get_description()]))(first)
    finally:
        cursor.close(force=True)
