"""What a statement may read, found out once for each text: one row by its key, or whole tables.

A statement counts as looking at one row only if its own grammar proves it: one table, no subquery, and a WHERE whose
outermost ANDs give every column of the primary key, or of a UNIQUE constraint, a parameter or a literal of the column's
type. SQLite's query plan must say the same. Everything else counts as reading all of each table it names. What a statement
writes is not told here: the preupdate hook sees the rows themselves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import apsw

from driftlog._core.touch import Cell
from driftlog._sqlite.confine import JSON_TABLES, LOCAL_TO_READ, Confinement
from driftlog._sqlite.rows import Parameters
from driftlog._sqlite.scratch import scratch
from driftlog._sqlite.sqltext import Kind, Token, excerpt, first_keyword, fold, has_words, statements
from driftlog._sqlite.tables import Table, TableSet
from driftlog.errors import ForbiddenSQL

_PYTHON_TYPES: Final = {"TEXT": str, "INTEGER": int, "BLOB": bytes}
"""Where a parameter has the column's own type, SQLite compares it as it is. A REAL or ANY column compares more freely."""

_AFTER_WHERE: Final = frozenset(
    {"GROUP", "HAVING", "ORDER", "LIMIT", "WINDOW", "RETURNING", "UNION", "INTERSECT", "EXCEPT"}
)
_UNPROVABLE: Final = frozenset({"SELECT", "JOIN", "WITH", "IN", "OR", "BETWEEN", "CASE", "MATCH", "EXISTS", "INDEXED"})
"""Words with which a statement's conditions can mean more than their outermost ANDs say, or look elsewhere."""

_LOOKING: Final = frozenset({"SELECT", "IN", "WITH", "MATCH"})
"""Words with which an INSERT can look at rows, its own or others."""

_ROWID_NAMES: Final = frozenset({"rowid", "oid", "_rowid_"})
"""Other names of an INTEGER PRIMARY KEY."""

_INTEGER_MAX: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class RowOf:
    """Tells from a statement's parameters which row of a table it looks at: by its key, or by a UNIQUE value."""

    table: int
    space: int
    """The table's own where the key is given, else that of the UNIQUE constraint."""
    parts: tuple[tuple[int | str | None, object, type], ...]
    """For each column: the parameter's place or name, or None and a literal; and the type it must have."""
    find_sql: str | None = None
    """Gives the key of the row with the UNIQUE value, if there is one."""

    def cell(self, parameters: Parameters) -> Cell | None:
        """Give the cell of the key or value, None if a value is not of its column's type."""
        values: list[object] = []
        for source, literal, kind in self.parts:
            try:
                value = literal if source is None else parameters[source]  # type: ignore[index]  # or it raises
            except (LookupError, TypeError):
                return None
            if type(value) is not kind:
                return None
            values.append(value)
        # As cells are written elsewhere: the key of one column as that value, all else as a tuple.
        is_single = self.find_sql is None and len(values) == 1
        return (self.space, values[0] if is_single else tuple(values))


@dataclass(frozen=True, slots=True)
class Access:
    """What a statement reads, besides the rows it changes."""

    reads: tuple[Cell, ...]
    """What it reads whenever it runs."""
    row: RowOf | None
    """The row it looks at: always for a query, for a write only if it changed nothing."""
    if_failed: tuple[Cell, ...]
    """What it may have depended on when a constraint stopped it; empty if that is `row` alone."""
    is_write: bool
    gives_rows: bool
    """Whether it may give rows, of a query or a RETURNING."""
    numbers_rows: Cell | None
    """The table whose rows SQLite would number, going by the greatest, unless `row` names the key."""
    is_told_by_images: bool = field(init=False)
    """Whether there is nothing to note of it where it changed something: the images of that say all."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_told_by_images", self.is_write and not self.reads and self.numbers_rows is None)


def access_of(
    connection: apsw.Connection, confinement: Confinement, tables: TableSet, sql: str, parameters: Parameters
) -> Access:
    """Find out what a statement reads. Compiles it, so that whatever is wrong with it is raised as when it runs."""
    try:
        with confinement.noting_tables() as seen:
            # A statement that was compiled before is not asked about again, so the cache is passed by.
            plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters, can_cache=False).fetchall()
    except apsw.AuthError:
        _check_where_nothing_else_is(confinement, tables, sql, parameters)
        raise
    if not tables.names.union(JSON_TABLES).issuperset(seen):
        # A name without a column may be the statement's own, from its WITH, or a table's. SQLite does not say which.
        _check_where_nothing_else_is(confinement, tables, sql, parameters)
    details = [str(line[3]) for line in plan]
    loops = [detail for detail in details if detail.startswith(("SEARCH", "SCAN")) and detail != "SCAN CONSTANT ROW"]
    return _Reader(tables, statements(sql)[0], frozenset(seen), loops).access()


def _check_where_nothing_else_is(confinement: Confinement, tables: TableSet, sql: str, parameters: Parameters) -> None:
    """Raise what is wrong with a statement where there are the app's tables only.

    This device's file may have others: local ones, perhaps of an older version of the app. The verdict on a materializer
    that names one must be that of a device which never had it. For those that the app declares, all have better words.
    """
    try:
        with scratch(tables.statements) as connection:
            connection.execute(f"EXPLAIN {sql}", parameters)
    except apsw.SQLError as error:
        name = str(error).removeprefix("no such table: ").removeprefix("main.")
        reason = confinement.take_reason()
        if fold(name) in confinement.local_names:
            raise ForbiddenSQL(f"`{excerpt(sql)}`: {reason or f'it may not read {name}, {LOCAL_TO_READ}'}") from error
        raise


class _Reader:
    """Reads one statement's tokens."""

    def __init__(self, tables: TableSet, statement: tuple[Token, ...], seen: frozenset[str], loops: list[str]) -> None:
        self._tables = tables
        self._by_name = {fold(table.name): table for table in tables.tables}
        self._tokens = statement
        self._words = [token.word for token in statement]
        self._seen = seen
        self._loops = loops

    def access(self) -> Access:
        match first_keyword(self._tokens):
            case "SELECT":
                return self._select()
            case "UPDATE" | "DELETE":
                return self._change()
            case "INSERT" | "REPLACE":
                return self._insert()
            case _:
                # WITH may begin anything, and VALUES nearly nothing.
                return self._whole(is_write=True)

    def _select(self) -> Access:
        is_one = self._words.count("SELECT") == self._words.count("FROM") == 1
        row = self._row_of(self._after("FROM")) if is_one else None
        if row is None:
            return self._whole(is_write=False)
        return Access((), row, (), is_write=False, gives_rows=True, numbers_rows=None)

    def _change(self) -> Access:
        words = self._words
        at = 1 if words[0] == "UPDATE" else 2
        row = None if words[1] == "OR" or "FROM" in words[2:] else self._row_of(at)
        table = self._table(at)
        if row is None or table is None or self._fires_triggers(table):
            return self._whole(is_write=True)
        is_simple = table.constraints.is_plain and not self._sets_key(table)
        return Access(
            (),
            row,
            () if is_simple else self._related(table),
            is_write=True,
            gives_rows=self._gives_rows(),
            numbers_rows=None,
        )

    def _insert(self) -> Access:
        words = self._words
        if "INTO" not in words:
            return self._whole(is_write=True)
        at = words.index("INTO") + 1
        table = self._table(at)
        if table is None or self._fires_triggers(table) or table.constraints.is_coarse:
            return self._whole(is_write=True)
        may_pass_over = words[0] == "REPLACE" or words[1] == "OR" or has_words(self._tokens, "ON", "CONFLICT")
        is_looking = bool(self._loops) or bool(_LOOKING.intersection(words))
        row = None if is_looking else self._row_inserted(table, at + 1)
        whole: Cell = (table.index,)
        reads: tuple[Cell, ...] = self._all_seen() if is_looking else ()
        if may_pass_over and (row is None or table.has_unique):
            # A row that was passed over, or another than the one named that was changed, shows in no image.
            reads = (*reads, whole)
        is_simple = row is not None and table.constraints.is_plain and not self._sets_key(table)
        return Access(
            reads,
            row,
            () if is_simple else self._related(table),
            is_write=True,
            gives_rows=self._gives_rows(),
            numbers_rows=whole if table.is_rowid else None,
        )

    def _gives_rows(self) -> bool:
        return "RETURNING" in self._words

    # --- whole tables ------------------------------------------------------------------------------------------------

    def _whole(self, *, is_write: bool) -> Access:
        seen = self._all_seen()
        if is_write:
            named = [self._tables.tables[index] for (index,) in seen]
            # A name that is no table's is a view's, which only a trigger can make writable.
            is_firing = any(map(self._fires_triggers, named)) or bool(self._seen & self._tables.triggered)
            related = set().union(*map(self._related, named))
            seen = tuple((table.index,) for table in self._tables.tables if is_firing or (table.index,) in related)
        return Access(seen, None, seen, is_write=is_write, gives_rows=True, numbers_rows=None)

    def _all_seen(self) -> tuple[tuple[int], ...]:
        return tuple((self._by_name[name].index,) for name in sorted(self._seen) if name in self._by_name)

    def _fires_triggers(self, table: Table) -> bool:
        """Tell whether writing to a table may run a trigger, its own or one that a cascade leads to."""
        tables, triggered = self._tables.tables, self._tables.triggered
        return bool(triggered) and any(fold(tables[index].name) in triggered for (index,) in self._related(table))

    def _related(self, table: Table) -> tuple[tuple[int], ...]:
        """Give the table and all that foreign keys tie to it, however far."""
        found = {table.index}
        queue = [table]
        while queue:
            constraints = queue.pop().constraints
            for reference in (*constraints.as_child, *constraints.as_parent):
                if reference.other not in found:
                    found.add(reference.other)
                    queue.append(self._tables.tables[reference.other])
        return tuple((index,) for index in sorted(found))

    # --- one row -----------------------------------------------------------------------------------------------------

    def _after(self, word: str) -> int:
        return self._words.index(word) + 1 if word in self._words else len(self._words)

    def _table(self, at: int) -> Table | None:
        tokens = self._tokens
        if at >= len(tokens) or (at + 1 < len(tokens) and tokens[at + 1].text == "."):
            # `main.room` is another table than one that is called main.
            return None
        return self._by_name.get(fold(tokens[at].name))

    def _row_of(self, at: int) -> RowOf | None:
        """Read `table [[AS] alias] ... WHERE condition`, from the table's name on."""
        table = self._table(at)
        if table is None or table.constraints.is_coarse or "WHERE" not in self._words[at:]:
            return None
        # Foreign keys have loops of their own, over the tables that refer here; the cells of the keys stand for those.
        is_alone = len(self._loops) == 1 or (self._words[0] != "SELECT" and bool(table.constraints.as_parent))
        if not is_alone or not self._loops or not self._loops[0].startswith("SEARCH"):
            return None
        where = self._words.index("WHERE", at)
        between = self._tokens[at + 1 : where]
        if self._words[0] != "UPDATE" and any(token.text in (",", "(", ".") for token in between):
            return None
        if _UNPROVABLE.intersection(self._words[1:]):
            return None
        names = {fold(self._tokens[at].name)}
        if self._words[0] != "UPDATE" and between:
            names = {fold(between[-1].name)}
        value_by_column: dict[str, Token] = {}
        for term in self._terms(where + 1):
            found = _equality(term, names)
            if found is not None:
                name, value = found
                if name in value_by_column:
                    return None
                value_by_column[name] = value
        named = [value_by_column.get(fold(column)) for column in table.columns]
        row = self._row(table, table.index, table.key, [named[column] for column in table.key])
        for unique in table.constraints.uniques:
            if row is None:
                row = self._row(table, unique.space, unique.columns, [named[column] for column in unique.columns])
        return row

    def _row_inserted(self, table: Table, at: int) -> RowOf | None:
        """Read `[(columns)] VALUES (one row)`, from what follows the table's name."""
        columns = [fold(table.columns[column]) for column in table.stored]
        if at < len(self._tokens) and self._tokens[at].text == "(":
            listed, at = self._parenthesised(at)
            columns = [fold(item[0].name) if len(item) == 1 else "" for item in listed]
        if len(set(columns)) < len(columns) or not _ROWID_NAMES.isdisjoint(columns):
            # A column may be named twice, and the key by its other name: which value counts is SQLite's secret.
            return None
        if at >= len(self._tokens) or self._words[at] != "VALUES":
            return None
        values, at = self._parenthesised(at + 1)
        if len(values) != len(columns) or (at < len(self._tokens) and self._tokens[at].text == ","):
            return None
        value_by_column = {name: item[0] for name, item in zip(columns, values, strict=True) if len(item) == 1}
        values_of_key = [value_by_column.get(fold(table.columns[column])) for column in table.key]
        return self._row(table, table.index, table.key, values_of_key)

    def _row(self, table: Table, space: int, columns: Sequence[int], values: Sequence[Token | None]) -> RowOf | None:
        parts: list[tuple[int | str | None, object, type]] = []
        for column, value in zip(columns, values, strict=True):
            kind = _PYTHON_TYPES.get(table.types[column])
            source = None if value is None or kind is None else self._source(value)
            if source is None or kind is None:
                return None
            parts.append((*source, kind))
        return RowOf(table.index, space, tuple(parts), None if space == table.index else table.find_sql(columns))

    def _source(self, value: Token) -> tuple[int | str | None, object] | None:
        if value.kind is Kind.STRING:
            return None, value.text[1:-1].replace("''", "'")
        if value.kind is Kind.NUMBER and value.text.isdecimal() and int(value.text) <= _INTEGER_MAX:
            return None, int(value.text)
        if value.kind is not Kind.VARIABLE:
            return None
        names = [token.text for token in self._tokens if token.kind is Kind.VARIABLE]
        if value.text != "?" and not value.text[1:].isdecimal():
            # Only named ones: a mapping is then the only form that binds them all.
            return None if any(name.startswith("?") for name in names) else (value.text[1:], None)
        if any(name != "?" for name in names):
            # `?3` and `?` mixed number each other; all numbered is plain again.
            numbered = all(name.startswith("?") and name != "?" for name in names)
            return (int(value.text[1:]) - 1, None) if numbered else None
        places = [token.start for token in self._tokens if token.kind is Kind.VARIABLE]
        return places.index(value.start), None

    def _sets_key(self, table: Table) -> bool:
        """Tell whether an UPDATE or upsert may move a row to another key. The rest of an upsert counts as set."""
        keys = _ROWID_NAMES.union(fold(table.columns[column]) for column in table.key)
        end = self._words.index("WHERE") if self._words[0] == "UPDATE" else len(self._words)
        # A column's name may also be written as a string.
        return any(
            fold(token.name or token.text.strip("'")) in keys for token in self._tokens[self._after("SET") : end]
        )

    def _terms(self, at: int) -> Iterator[list[Token]]:
        """Split a condition at its outermost ANDs."""
        depth = 0
        term: list[Token] = []
        for token in self._tokens[at:]:
            depth += (token.text == "(") - (token.text == ")")
            if depth == 0 and token.word in _AFTER_WHERE:
                break
            if depth == 0 and token.word == "AND":
                yield term
                term = []
            else:
                term.append(token)
        yield term

    def _parenthesised(self, at: int) -> tuple[list[list[Token]], int]:
        """Read a list in parentheses, split at its outermost commas; gives it and the place after it."""
        items: list[list[Token]] = [[]]
        depth = 0
        for place in range(at, len(self._tokens)):
            token = self._tokens[place]
            depth += (token.text == "(") - (token.text == ")")
            if depth == 0:
                return items, place + 1
            if depth == 1 and token.text == ",":
                items.append([])
            elif depth > 1 or token.text != "(":
                items[-1].append(token)
        return [], len(self._tokens)


def _equality(term: Sequence[Token], names: set[str]) -> tuple[str, Token] | None:
    """Read `[table.]column = value` or `value = [table.]column`."""
    texts = [token.text for token in term]
    if len(term) in (3, 5) and texts[-2] in ("=", "=="):
        column, value = term[:-2], term[-1]
        if value.name:
            column, value = term[2:], term[0]
    elif len(term) == 5 and texts[1] in ("=", "=="):
        column, value = term[2:], term[0]
    else:
        return None
    if len(column) == 3 and (column[1].text != "." or fold(column[0].name) not in names):
        return None
    if len(column) not in (1, 3) or not column[-1].name or value.name:
        return None
    return fold(column[-1].name), value
