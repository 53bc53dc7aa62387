"""Which answers can be kept up to date from the rows that changed, and how one of these rows is looked up.

A plan is made only where the outcome is provably that of running the query again: a plain SELECT of one table, row by row,
that shows the primary key and the columns it is ordered by, all of types whose values Python orders as SQLite does. Without
ORDER BY, that is the order of the table's b-tree, if SQLite's program goes through just that. What a row contributes is
never computed here: the query itself is run for the row, with its key as one more condition. Functions are those known to
look at nothing but their arguments; an aggregate or a window would look at other rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from driftlog._reactive.given import Given
from driftlog._reactive.reads import exact_type
from driftlog._reactive.select import OPERATORS_AFTER, Select, listed
from driftlog._sqlite.footprint import Footprint, Shape
from driftlog._sqlite.reading import marked_query
from driftlog._sqlite.rows import Parameters
from driftlog._sqlite.sqltext import Kind, Token, fold, quote

ROW_BY_ROW: Final = frozenset(
    [
        "coalesce",
        "glob",
        "hex",
        "ifnull",
        "iif",
        "instr",
        "length",
        "like",
        "lower",
        "ltrim",
        "nullif",
        "quote",
        "replace",
        "rtrim",
        "sign",
        "substr",
        "substring",
        "trim",
        "typeof",
        "unicode",
        "upper",
    ]
)
"""Functions of one row. min() and max() are not among them: with one argument they are aggregates."""
_NO_NAMES: Final = frozenset({"ALL", "NOT", "NULL", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP"})
"""Words that mean something else where a column could stand, even if one is called so in quotes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to keep one query's answer."""

    row_sql: str
    """Gives the answer's row of one key, or none; the key is its last parameters."""
    parameters: Parameters
    """What comes before the key; in a mapping, the key goes by `names`."""
    names: tuple[str, ...]
    key: tuple[int, ...]
    """The primary key's columns, in images of rows."""
    key_places: tuple[int, ...]
    """And in the answer."""
    order: tuple[tuple[int, bool], ...]
    """By which places of the answer its rows are ordered, and whether descending."""
    limit: int | None

    def key_in(self, image: Sequence[Any]) -> tuple[Any, ...]:
        """Give a changed row's key."""
        return tuple([image[column] for column in self.key])

    def key_of(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """Give the key of a row of the answer."""
        return tuple([row[place] for place in self.key_places])

    def given(self, key: tuple[Any, ...]) -> Parameters:
        """Give the parameters with which to look a row up."""
        if isinstance(self.parameters, Mapping):
            return {**self.parameters, **dict(zip(self.names, key, strict=True))}
        return (*self.parameters, *key)


def plan_of(
    footprint: Footprint,
    shapes: Mapping[str, Shape],
    select: Select | None,
    text: str,
    statement: Sequence[Token],
    parameters: Parameters,
) -> Plan | None:
    """Make the plan for a query, None where it must be run again."""
    if select is None or not select.is_row_by_row or not footprint.functions <= ROW_BY_ROW:
        return None
    shape = is_of_one_table(footprint, shapes, select)
    if shape is None:
        return None
    shown = _Shown(select.columns, shape, select.sources[0].alias)
    order = _order(footprint, shape, select, shown)
    places = [shown.place(column) for column in shape.key]
    given = Given(statement, parameters)
    limit = given.value(select.clauses["LIMIT"]) if "LIMIT" in select.clauses else None
    ordered = [pair for pair in order if pair is not None]
    key_places = [place for place in places if place is not None]
    if not order or len(ordered) < len(order) or len(key_places) < len(places):
        return None
    if "LIMIT" in select.clauses and (
        # Rows past the window are not known: one of them must not tie with one within.
        type(limit) is not int or limit < 1 or not {place for place, _ in ordered} >= set(key_places)
    ):
        return None
    found = by_key(select, shape, text, given)
    if found is None:
        return None
    row_sql, kept, names = found
    return Plan(row_sql, kept, names, shape.key, tuple(key_places), tuple(ordered), limit)


def _order(footprint: Footprint, shape: Shape, select: Select, shown: "_Shown") -> list[tuple[int, bool] | None]:
    """Give by which places of the answer it is ordered, None for each that is not shown; empty for no known order."""
    if "ORDER" in select.clauses:
        return [shown.ordered_by(term) for term in listed(select.clauses["ORDER"][1:])]
    # A pattern that is a parameter is part of what SQLite plans by.
    if not footprint.is_scan or footprint.functions & {"like", "glob"}:
        return []
    places = [(shown.place(column), is_descending) for column, is_descending in shape.tree]
    return [None if place is None else (place, is_descending) for place, is_descending in places]


def is_of_one_table(footprint: Footprint, shapes: Mapping[str, Shape], select: Select) -> Shape | None:
    """Give the table that a query is of, if it has a key and the query reads nothing else."""
    if len(select.sources) != 1 or footprint.is_opaque:
        return None
    shape = shapes.get(select.sources[0].table)
    if shape is None or not shape.is_plain or not shape.key:
        return None
    return shape if {fold(name) for name in footprint.columns_by_table} == {select.sources[0].table} else None


def by_key(select: Select, shape: Shape, text: str, given: Given) -> tuple[str, Parameters, tuple[str, ...]] | None:
    """Give the query of one row, by its key; the parameters before the key, and the names of the key's in a mapping."""
    where, last = select.clauses.get("WHERE"), select.clauses[""][-1]
    end = (where or (last,))[-1].end
    names = tuple(f"driftlog_key_{number}" for number in range(len(shape.key)))
    more = given.with_more(end, names)
    if more is None:
        return None
    kept, written = more
    alias = quote(select.sources[0].alias)
    conditions = [
        f"{alias}.{quote(shape.columns[column])} = {variable}"
        for column, variable in zip(shape.key, written, strict=True)
    ]
    before = f"{text[: where[0].start]}({text[where[0].start : end]}) AND" if where else f"{text[:end]} WHERE"
    return marked_query(f"{before} {' AND '.join(conditions)}"), kept, names


class _Shown:
    """What an answer shows: for each of its columns, the table's column that it is, and the name it is given."""

    def __init__(self, tokens: Sequence[Token], shape: Shape, alias: str) -> None:
        self._shape = shape
        self._alias = alias
        self._columns: list[int | None] = []
        self._names: list[str] = []
        for piece in listed(tokens):
            last = piece[-1]
            if last.text == "*":
                self._columns += range(len(shape.columns))
                self._names += shape.columns
                continue
            core = piece[:-2] if len(piece) > 2 and piece[-2].word == "AS" else piece
            if len(core) in (2, 4) and core is piece and last.word not in OPERATORS_AFTER:
                core = piece[:-1]
            self._columns.append(self._column(core))
            # SQLite takes a string, too, for the name of a column of the answer.
            self._names.append(fold(last.text[1:-1] if last.kind is Kind.STRING else last.name))

    def place(self, column: int) -> int | None:
        """Give where a column of the table is shown, if its values compare in Python as in SQLite."""
        if column not in self._columns or exact_type(self._shape, column) is None:
            return None
        return self._columns.index(column)

    def ordered_by(self, term: Sequence[Token]) -> tuple[int, bool] | None:
        """Read `column [ASC | DESC]`, None for any other form."""
        direction = term[-1].word if term else ""
        core = term[:-1] if direction in ("ASC", "DESC") else term
        column = self._column(core)
        if column is None:
            return None
        named = [at for at, name in enumerate(self._names) if name == self._shape.columns[column]]
        if len(core) == 1 and any(self._columns[at] != column for at in named):
            # SQLite takes a name in ORDER BY for what the answer calls so.
            return None
        place = self.place(column)
        return None if place is None else (place, direction == "DESC")

    def _column(self, tokens: Sequence[Token]) -> int | None:
        return column_of(tokens, self._shape, self._alias)


def column_of(tokens: Sequence[Token], shape: Shape, alias: str) -> int | None:
    """Read `column` or `table.column`, None for any other form."""
    if len(tokens) == 3 and tokens[1].text == "." and fold(tokens[0].name) == alias:
        tokens = tokens[2:]
    if len(tokens) != 1:
        return None
    name = "" if tokens[0].word in _NO_NAMES else fold(tokens[0].name)
    return shape.columns.index(name) if name and name in shape.columns else None
