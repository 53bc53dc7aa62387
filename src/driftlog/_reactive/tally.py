"""A count that is kept up to date: each changed row is counted as it was and as it is, by the query itself.

As it is, by the row's key as one more condition. As it was, with the old image in place of the table: its values under casts
to the columns' types, so that they compare as the columns do; hence only where all columns are of types that this says all
about. Sums are left out: SQLite refuses one whose parts overflow on the way, and that hangs on the order of the rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from driftlog._core.changes import RowChange
from driftlog._reactive.given import Given
from driftlog._reactive.plan import ROW_BY_ROW, by_key, is_of_one_table
from driftlog._reactive.reads import exact_type
from driftlog._reactive.select import OPERATORS_AFTER, Select
from driftlog._sqlite.footprint import Footprint, Shape
from driftlog._sqlite.reading import marked_query
from driftlog._sqlite.rows import Parameters
from driftlog._sqlite.sqltext import Token, quote

Key = tuple[Any, ...]
_CLAUSES: Final = frozenset({"", "WHERE"})


@dataclass(frozen=True, slots=True)
class Tally:
    """How to keep one count."""

    now_sql: str
    """Counts the row of one key; the key is its last parameters."""
    before_sql: str
    """Counts a row that is given, by its values; these are its first parameters."""
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
    """Make the plan for a count, None where the query must be run again."""
    if select is None or isinstance(parameters, Mapping) or not select.clauses.keys() <= _CLAUSES:
        return None
    shape = is_of_one_table(footprint, shapes, select)
    if (
        shape is None
        or not footprint.functions <= ROW_BY_ROW | {"count"}
        or [token.word or token.text for token in select.columns[:4]] != ["COUNT", "(", "*", ")"]
        or not _is_name(select.columns[4:])
        or any(exact_type(shape, column) is None for column in range(len(shape.columns)))
    ):
        return None
    found = by_key(select, shape, text, Given(statement, parameters))
    if found is None:
        return None
    now_sql, kept, _ = found
    values = [f"CAST(? AS {kind}) AS {quote(name)}" for kind, name in zip(shape.types, shape.columns, strict=True)]
    table = f"(SELECT {', '.join(values)}) AS {quote(select.sources[0].alias)}"
    where = select.clauses.get("WHERE")
    condition = f" WHERE {text[where[0].start : where[-1].end]}" if where else ""
    before_sql = marked_query(f"SELECT count(*) FROM {table}{condition}")
    return Tally(now_sql, before_sql, tuple(kept), shape.key)


def _is_name(rest: Sequence[Token]) -> bool:
    """Tell whether the count is only given a name, if anything follows."""
    named = rest[1:] if rest and rest[0].word == "AS" else rest
    return len(named) == (1 if rest else 0) and all(token.name and token.word not in OPERATORS_AFTER for token in named)
