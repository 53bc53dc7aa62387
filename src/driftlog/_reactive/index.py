"""The index of predicates: from a changed row to the queries that may see it, without asking each of them.

Each query is entered once for each time that a table is in it: under the values of one of its conditions, or among those
that see every row. What is found so is then held to all of its conditions, and to the columns it reads.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

from driftlog._core.changes import Changes, RowChange
from driftlog._reactive.reads import Condition, Reads, TableReads

Q = TypeVar("Q")


class _Table(Generic[Q]):
    def __init__(self) -> None:
        self.reads_by_query: dict[Q, TableReads] = {}
        self.seeing_all: dict[frozenset[int] | None, dict[Q, None]] = {}
        """Those that see every row, by the columns they read."""
        self.by_value: dict[int, dict[Any, dict[Q, None]]] = {}
        """Others, by a column and its value."""


class PredicateIndex(Generic[Q]):
    """Which queries see which rows."""

    def __init__(self) -> None:
        self._tables: dict[str, _Table[Q]] = {}

    def tables(self) -> frozenset[str]:
        """Give the names of the tables that any query reads."""
        return frozenset(self._tables)

    def add(self, query: Q, reads: Reads) -> None:
        """Enter a query."""
        for name, seen in reads.items():
            table = self._tables.setdefault(name, _Table())
            table.reads_by_query[query] = seen
            for bucket in _buckets(table, seen):
                bucket[query] = None

    def remove(self, query: Q, reads: Reads) -> None:
        """Take a query out, with what it was entered with, and leave nothing of it."""
        for name, seen in reads.items():
            table = self._tables[name]
            del table.reads_by_query[query]
            for bucket in _buckets(table, seen):
                bucket.pop(query, None)
            _prune(table, seen)
            if not table.reads_by_query:
                del self._tables[name]

    def affected(self, changes: Changes) -> dict[Q, list[RowChange] | None]:
        """Give the queries that may see a change, in no order, each with the rows that it may see; None for any rows."""
        found: dict[Q, list[RowChange] | None] = {}
        for name, rows in _by_table(changes.rows).items():
            if name in self._tables:
                _look(self._tables[name], rows, found)
        for name in changes.tables if not changes.is_everything else self._tables:
            if name in self._tables:
                found.update(dict.fromkeys(self._tables[name].reads_by_query))
        return found


def _by_table(rows: Iterable[RowChange]) -> dict[str, list[RowChange]]:
    found: dict[str, list[RowChange]] = {}
    for change in rows:
        found.setdefault(change.table, []).append(change)
    return found


def _look(table: _Table[Q], rows: Sequence[RowChange], found: dict[Q, list[RowChange] | None]) -> None:
    def add(query: Q, seen: Sequence[RowChange]) -> None:
        # None of what is found here is None yet: tables of which no rows are known come after.
        known = found.setdefault(query, [])
        assert known is not None
        known += seen

    for columns, queries in table.seeing_all.items():
        seen = [change for change in rows if TableReads(columns, ({},)).sees(change)]
        if seen:
            for query in queries:
                add(query, seen)
    for column, by_value in table.by_value.items():
        for change in rows:
            # Of queries with several values, each once.
            met: dict[Q, None] = {}
            for image in (change.old, change.new):
                met.update(by_value.get(image[column], {}) if image is not None else {})
            for query in met:
                if table.reads_by_query[query].sees(change):
                    add(query, [change])


def _buckets(table: _Table[Q], seen: TableReads) -> list[dict[Q, None]]:
    buckets: list[dict[Q, None]] = []
    for condition in seen.conditions:
        column = _narrowest(condition)
        if column is None:
            buckets.append(table.seeing_all.setdefault(seen.columns, {}))
        else:
            by_value = table.by_value.setdefault(column, {})
            buckets += [by_value.setdefault(value, {}) for value in condition[column]]
    return buckets


def _prune(table: _Table[Q], seen: TableReads) -> None:
    for condition in seen.conditions:
        column = _narrowest(condition)
        if column is None:
            if not table.seeing_all.get(seen.columns, True):
                del table.seeing_all[seen.columns]
            continue
        by_value = table.by_value.get(column, {})
        for value in condition[column]:
            if not by_value.get(value, True):
                del by_value[value]
        if not by_value:
            table.by_value.pop(column, None)


def _narrowest(condition: Condition) -> int | None:
    """Give the column with the fewest values, None if there is no condition."""
    return min(condition, key=lambda column: (len(condition[column]), column), default=None)
