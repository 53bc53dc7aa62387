"""Counts, sums, least and greatest values that are kept up to date: each changed row is taken as it was and as it is.

What a row contributes is said by the query itself, of this row alone. As it is, by its key as one more condition. As it was,
with the old image in place of the table: its values under casts to the columns' types, so that they compare as the columns
do; hence only where all columns are of types that this says all about.

SQLite refuses a sum whose parts overflow on the way, and what comes first hangs on its plan. So a sum is kept only while all
its values together, whatever their signs, stay within half of what an integer holds: then no order of them overflows.
A least or greatest value that goes says nothing of which is next, and the query is run again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from driftlog._core.changes import RowChange
from driftlog._reactive.given import Given
from driftlog._reactive.plan import ROW_BY_ROW, by_key, column_of, is_of_one_table
from driftlog._reactive.reads import exact_type
from driftlog._reactive.select import OPERATORS_AFTER, Select, listed
from driftlog._sqlite.footprint import Footprint, Shape
from driftlog._sqlite.reading import marked_query
from driftlog._sqlite.rows import Parameters
from driftlog._sqlite.sqltext import Token, fold, quote

Key = tuple[Any, ...]
_CLAUSES: Final = frozenset({"", "WHERE"})
_AGGREGATES: Final = frozenset({"count", "sum", "min", "max"})
"""Not total() nor avg(): what a float has lost is not to be had back."""
SUM_MAX: Final = 1 << 62
"""Of a kept sum's values without their signs. SQLite says that as a float, so half of what an integer holds."""


@dataclass(slots=True)
class Sum:
    """What the answer does not say of a sum: how many values are in it, and how far they are from zero together."""

    count: int
    distance: int


@dataclass(frozen=True, slots=True)
class Tally:
    """How to keep one row of aggregates."""

    now_sql: str
    """Gives what the row of one key contributes; the key is its last parameters."""
    before_sql: str
    """Gives what a row contributes that is given by its values; these are its first parameters."""
    sums_sql: str | None
    """Gives count and distance of each sum, one after the other; None where there is no sum."""
    kinds: tuple[str, ...]
    """Which aggregate each column of the answer is."""
    parameters: tuple[Any, ...]
    """What comes before the key, and after the values."""
    key: tuple[int, ...]

    def key_in(self, image: Sequence[Any]) -> Key:
        """Give a changed row's key."""
        return tuple([image[column] for column in self.key])

    def before(self, changes: Sequence[RowChange]) -> dict[Key, Sequence[Any] | None]:
        """Give the rows of all keys among changes as they were before the first one; None for none."""
        found: dict[Key, Sequence[Any] | None] = {}
        for change in changes:
            for image in (change.old, change.new):
                if image is not None:
                    # A key that comes up in a new image was no row's before.
                    found.setdefault(self.key_in(image), change.old if image is change.old else None)
        return found


def tally_of(
    footprint: Footprint,
    shapes: Mapping[str, Shape],
    select: Select | None,
    text: str,
    statement: Sequence[Token],
    parameters: Parameters,
) -> Tally | None:
    """Make the plan for aggregates of all rows, None where the query must be run again."""
    if select is None or isinstance(parameters, Mapping) or not select.clauses.keys() <= _CLAUSES:
        return None
    shape = is_of_one_table(footprint, shapes, select)
    if (
        shape is None
        or not footprint.functions <= ROW_BY_ROW | _AGGREGATES
        or any(exact_type(shape, column) is None for column in range(len(shape.columns)))
    ):
        return None
    read = [_aggregate(piece, shape, select.sources[0].alias) for piece in listed(select.columns)]
    aggregates = [one for one in read if one is not None]
    if len(aggregates) < len(read):
        return None
    found = by_key(select, shape, text, Given(statement, parameters))
    if found is None:
        return None
    now_sql, kept, _ = found
    values = [f"CAST(? AS {kind}) AS {quote(name)}" for kind, name in zip(shape.types, shape.columns, strict=True)]
    table = f"(SELECT {', '.join(values)}) AS {quote(select.sources[0].alias)}"
    where, source = select.clauses.get("WHERE"), select.clauses[""]
    condition = f" WHERE {text[where[0].start : where[-1].end]}" if where else ""
    columns = text[select.columns[0].start : select.columns[-1].end]
    sums = [f"count({quote(name)}), total(abs({quote(name)}))" for kind, name in aggregates if kind == "sum"]
    source_text = text[source[0].start : source[-1].end]
    return Tally(
        now_sql,
        marked_query(f"SELECT {columns} FROM {table}{condition}"),
        marked_query(f"SELECT {', '.join(sums)} FROM {source_text}{condition}") if sums else None,
        tuple([kind for kind, _ in aggregates]),
        tuple(kept),
        shape.key,
    )


def _aggregate(piece: Sequence[Token], shape: Shape, alias: str) -> tuple[str, str] | None:
    """Read `count(*)` or `aggregate(column)`, with a name or none: which it is, and of what column; None for others."""
    kind = fold(piece[0].word) if piece else ""
    texts = [token.text for token in piece]
    if (
        kind not in _AGGREGATES
        or texts[1:2] != ["("]
        or ")" not in texts
        or not _is_name(piece[texts.index(")") + 1 :])
    ):
        return None
    of = piece[2 : texts.index(")")]
    if kind == "count" and [token.text for token in of] == ["*"]:
        return kind, ""
    column = column_of(of, shape, alias)
    if column is None or (kind == "sum" and exact_type(shape, column) is not int):
        return None
    return kind, shape.columns[column]


def _is_name(rest: Sequence[Token]) -> bool:
    """Tell whether what comes before is only given a name, if anything follows."""
    named = rest[1:] if rest and rest[0].word == "AS" else rest
    return len(named) == (1 if rest else 0) and all(token.name and token.word not in OPERATORS_AFTER for token in named)


Contribution = Sequence[Any]


def tallied(
    kinds: Sequence[str],
    values: Sequence[Any],
    sums: Sequence[Sum],
    gone: Sequence[Contribution],
    come: Sequence[Contribution],
) -> tuple[Any, ...] | None:
    """Give the aggregates after rows have gone and come, and bring their sums up to date; None if that cannot be told.

    After None the sums are of no more use.
    """
    remaining = iter(sums)
    found: list[Any] = []
    for place, (kind, value) in enumerate(zip(kinds, values, strict=True)):
        out = [one[place] for one in gone if one[place] is not None]
        into = [one[place] for one in come if one[place] is not None]
        match kind:
            case "count":
                found.append(value - sum(out) + sum(into))
            case "sum":
                known = next(remaining)
                known.count += len(into) - len(out)
                known.distance += sum(map(abs, into)) - sum(map(abs, out))
                if known.distance >= SUM_MAX:
                    return None
                found.append((value or 0) - sum(out) + sum(into) if known.count else None)
            case _:
                choose = min if kind == "min" else max
                best = choose(into, default=None)
                if value in out and (best is None or choose(best, value) != best):
                    return None
                found.append(best if value is None else value if best is None else choose(value, best))
    return tuple(found)
