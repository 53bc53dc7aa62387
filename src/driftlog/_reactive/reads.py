"""Which rows of which tables a query can see: proved from its text where that is plain, all rows otherwise.

A condition `column = value` counts where SQLite compares as Python does: the column is INTEGER, TEXT or BLOB of a STRICT
table, its collation BINARY, the value of just that type. Then a row whose column holds another value has no part in the
answer, neither with its old image nor with its new one. `column = column` passes values on, as joins on keys do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from driftlog._core.changes import RowChange
from driftlog._reactive.given import Given
from driftlog._reactive.select import Select, Term, listed
from driftlog._sqlite.footprint import Footprint, Shape
from driftlog._sqlite.rows import Parameters
from driftlog._sqlite.sqltext import RESERVED_PREFIXES, Token, fold

PYTHON_TYPES: Final[dict[str, type]] = {"INTEGER": int, "TEXT": str, "BLOB": bytes}
"""Of columns whose values are equal, and in order, to Python as they are to SQLite."""
VALUES_MAX: Final = 1_000
"""Of an IN list that are looked up one by one; a query with more of them counts as reading all rows."""

Condition = Mapping[int, frozenset[Any]]
"""The values that a row's columns must have to be seen; empty for any row."""
_Place = tuple[int, int]
"""A source in FROM, and a column of its table."""


@dataclass(frozen=True, slots=True)
class TableReads:
    """What a query sees of one table."""

    columns: frozenset[int] | None
    """Whose values it sees, None for all."""
    conditions: tuple[Condition, ...]
    """One for each time that the table is in the query; a row that meets none of them is not seen."""

    def sees(self, change: RowChange) -> bool:
        """Tell whether a change may concern the query."""
        old, new = change.old, change.new
        if (
            old is not None
            and new is not None
            and self.columns is not None
            and all(old[column] == new[column] and type(old[column]) is type(new[column]) for column in self.columns)
        ):
            return False
        return any(_meets(old, condition) or _meets(new, condition) for condition in self.conditions)


def _meets(image: Sequence[Any] | None, condition: Condition) -> bool:
    return image is not None and all(image[column] in values for column, values in condition.items())


Reads = Mapping[str, TableReads]
"""By the tables' names."""

SeenThrough = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""By view, table and column: the value that a row of the table must have to be seen through the view. All folded, and only
of columns that compare in Python as in SQLite."""

_ANY_ROW: Final[tuple[Condition, ...]] = ({},)


def reads_of(
    footprint: Footprint,
    shapes: Mapping[str, Shape],
    select: Select | None,
    statement: Sequence[Token],
    given: Parameters,
    views: SeenThrough,
) -> Reads:
    """Tell what a query sees, with these parameters."""
    names = {fold(name) for name in footprint.columns_by_table}
    view = views.get(select.sources[0].table) if select is not None and len(select.sources) == 1 else None
    # `IN table` reads one without a FROM, even 'table': with a second name of the engine's, nothing is known.
    if (
        view is not None
        and sum(any(prefix in fold(token.text) for prefix in RESERVED_PREFIXES) for token in statement) == 1
    ):
        return {
            name: TableReads(columns, (_condition(shapes[fold(name)], view.get(fold(name), {})),))
            for name, columns in footprint.columns_by_table.items()
        }
    if select is None or {source.table for source in select.sources} != names:
        return {name: TableReads(columns, _ANY_ROW) for name, columns in footprint.columns_by_table.items()}
    conditions = _Conditions(select, shapes, statement, given).by_source()
    return {
        name: TableReads(
            columns,
            tuple(
                condition
                for source, condition in zip(select.sources, conditions, strict=True)
                if source.table == fold(name)
            ),
        )
        for name, columns in footprint.columns_by_table.items()
    }


def _condition(shape: Shape, value_by_column: Mapping[str, Any]) -> Condition:
    return {shape.columns.index(column): frozenset({value}) for column, value in value_by_column.items()}


def exact_type(shape: Shape, column: int) -> type | None:
    """Give the type of a column whose values compare in Python as in SQLite; None for any other."""
    return PYTHON_TYPES.get(shape.types[column]) if shape.is_binary[column] else None


class _Conditions:
    """Reads the terms of one select."""

    def __init__(
        self, select: Select, shapes: Mapping[str, Shape], statement: Sequence[Token], given: Parameters
    ) -> None:
        self._sources = select.sources
        self._shapes = [shapes[source.table] for source in select.sources]
        self._given = Given(statement, given)
        self._values: dict[_Place, frozenset[Any]] = {}
        self._equal: list[tuple[_Place, _Place]] = []
        for term in select.terms:
            self._read(term)

    def by_source(self) -> list[Condition]:
        """Give each source's condition."""
        # As often as there are joins, so that a value comes through a chain of them.
        for _ in self._equal:
            for one, other in self._equal:
                for here, there in ((one, other), (other, one)):
                    if here in self._values:
                        self._values.setdefault(there, self._values[here])
        found: list[dict[int, frozenset[Any]]] = [{} for _ in self._sources]
        for (source, column), values in self._values.items():
            if self._shapes[source].is_plain:
                found[source][column] = values
        return list(found)

    def _read(self, term: Term) -> None:
        texts = [token.word or token.text for token in term]
        if len(texts) > 4 and "IN" in texts[1:4] and texts[-1] == ")":
            at = texts.index("IN")
            place = self._place(term[:at])
            if place is not None and texts[at + 1] == "(":
                self._restrict(place, listed(term[at + 2 : -1]))
            return
        signs = [at for at, text in enumerate(texts) if text in ("=", "==")]
        if len(signs) != 1:
            return
        left, right = term[: signs[0]], term[signs[0] + 1 :]
        one, other = self._place(left), self._place(right)
        if one is not None and other is not None:
            if self._kind(one) == self._kind(other) is not None:
                self._equal.append((one, other))
        elif one is not None:
            self._restrict(one, [right])
        elif other is not None:
            self._restrict(other, [left])

    def _restrict(self, place: _Place, written: Sequence[Sequence[Token]]) -> None:
        kind = self._kind(place)
        values = [self._given.value(tokens) for tokens in written]
        if kind is None or len(values) > VALUES_MAX or any(type(value) is not kind for value in values):
            return
        self._values.setdefault(place, frozenset(values))

    def _kind(self, place: _Place) -> type | None:
        """Give the type of a column whose values are equal only if they are identical; None for any other."""
        source, column = place
        return exact_type(self._shapes[source], column)

    def _place(self, tokens: Sequence[Token]) -> _Place | None:
        """Find `column` or `table.column`."""
        if not tokens or len(tokens) not in (1, 3) or (len(tokens) == 3 and tokens[1].text != "."):
            return None
        name = fold(tokens[-1].name)
        alias = fold(tokens[0].name) if len(tokens) == 3 else None
        found = [
            (at, self._shapes[at].columns.index(name))
            for at, source in enumerate(self._sources)
            if (alias is None or source.alias == alias) and name in self._shapes[at].columns
        ]
        # A name that two tables know is SQLite's to resolve.
        return found[0] if name and len(found) == 1 else None
