"""Which cells a changed row touches besides itself, told from its table's constraints.

A UNIQUE constraint makes rows with one value depend on each other; a foreign key makes a child's row depend on its parent's
being there, and a parent's going depend on the children there are. Each constraint has a space of cells of its own, after
those of the tables. Where two values may count as one (a collation, mixed types), or an index covers some rows only, nothing
finer than the table is provable: it is coarse, and touched as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, groupby
from operator import itemgetter
from typing import Any, Final

import apsw

from driftlog._sqlite.sqltext import Token, fold, has_words


@dataclass(frozen=True, slots=True)
class Unique:
    """A UNIQUE constraint besides the key: its space, and its columns."""

    space: int
    columns: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """One side of a foreign key: the columns there, the space of keys referred to, and that of those who refer."""

    columns: tuple[int, ...]
    keys: int
    referrers: int
    other: int
    """The table on the other side."""


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a table's rows depend on besides themselves."""

    is_coarse: bool
    uniques: tuple[Unique, ...] = ()
    as_child: tuple[Reference, ...] = ()
    as_parent: tuple[Reference, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether rows depend on nothing but themselves."""
        return not (self.is_coarse or self.uniques or self.as_child or self.as_parent)

    def touched_by(
        self, old: Sequence[Any] | None, new: Sequence[Any] | None, reads: set[Any], writes: set[Any]
    ) -> None:
        """Add the cells that a change from one image of a row to another touches; None where there is no row."""
        if self.is_coarse:
            reads.update((reference.other,) for reference in (*self.as_child, *self.as_parent))
        for unique in self.uniques:
            writes.update((unique.space, value) for value in _changed(unique.columns, old, new) if value is not None)
        for reference in self.as_child:
            before, after = _changed(reference.columns, old, new)
            writes.update((reference.referrers, value) for value in (before, after) if value is not None)
            if after is not None:
                reads.add((reference.keys, after))
        for reference in self.as_parent:
            before, after = _changed(reference.columns, old, new)
            writes.update((reference.keys, value) for value in (before, after) if value is not None)
            if before is not None:
                reads.add((reference.referrers, before))


NO_CONSTRAINTS: Final = Constraints(is_coarse=False)


def _changed(columns: tuple[int, ...], old: Sequence[Any] | None, new: Sequence[Any] | None) -> tuple[Any, Any]:
    """Give the values of some columns before and after; None for no row, for NULL, and for both if they are the same."""
    before, after = _value(columns, old), _value(columns, new)
    return (None, None) if before == after else (before, after)


def _value(columns: tuple[int, ...], row: Sequence[Any] | None) -> Any:
    if row is None:
        return None
    values = tuple([row[column] for column in columns])
    # NULL is equal to nothing, so it meets no UNIQUE constraint and no foreign key.
    return None if None in values else values


@dataclass(frozen=True, slots=True)
class Shape:
    """What `constraints_of` needs to know of a table. `types` are as STRICT knows them, INT written INTEGER."""

    name: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    key: tuple[int, ...]
    is_loose: bool
    has_conflict_clause: bool


def states_conflict_clause(body: Sequence[Token]) -> bool:
    """Tell whether a table's own declaration says what to do in a conflict, so that a plain INSERT may pass over a row."""
    return has_words(body, "ON", "CONFLICT")


def constraints_of(scratch: apsw.Connection, shapes: Sequence[Shape]) -> tuple[Constraints, ...]:
    """Read the constraints of all tables. Spaces of cells are numbered on from the tables' own."""
    number_by_name = {fold(shape.name): number for number, shape in enumerate(shapes)}
    coarse = {number for number, shape in enumerate(shapes) if shape.is_loose or shape.has_conflict_clause}
    uniques: list[list[Unique]] = [[] for _ in shapes]
    children: list[list[Reference]] = [[] for _ in shapes]
    parents: list[list[Reference]] = [[] for _ in shapes]
    spaces = count(len(shapes))
    for number, shape in enumerate(shapes):
        for columns in _unique_columns(scratch, shape.name):
            if columns is None:
                coarse.add(number)
            else:
                uniques[number].append(Unique(next(spaces), columns))
    for number, shape in enumerate(shapes):
        for parent_name, columns, named in _foreign_keys(scratch, shape):
            parent = number_by_name[fold(parent_name)]
            parent_columns = _columns_named(shapes[parent], named) if named else shapes[parent].key
            types = [shape.types[column] for column in columns]
            if parent in coarse or types != [shapes[parent].types[column] for column in parent_columns]:
                # A value there may equal one here that is not the same.
                coarse |= {number, parent}
            keys, referrers = next(spaces), next(spaces)
            children[number].append(Reference(columns, keys, referrers, parent))
            parents[parent].append(Reference(parent_columns, keys, referrers, number))
    return tuple(
        Constraints(number in coarse, tuple(uniques[number]), tuple(children[number]), tuple(parents[number]))
        for number in range(len(shapes))
    )


def _unique_columns(scratch: apsw.Connection, table: str) -> list[tuple[int, ...] | None]:
    """Give the columns of each UNIQUE constraint but the key's; None for one whose values do not say whom it concerns."""
    found: list[tuple[int, ...] | None] = []
    for name, origin, is_unique, is_partial in _asked(
        scratch, 'SELECT name, origin, "unique", partial FROM pragma_index_list(?)', table
    ):
        if is_unique and origin != "pk":
            columns = _asked(scratch, "SELECT cid, coll FROM pragma_index_xinfo(?) WHERE key", name)
            is_exact = not is_partial and all(cid >= 0 and coll == "BINARY" for cid, coll in columns)
            found.append(tuple(cid for cid, _ in columns) if is_exact else None)
    return found


def _foreign_keys(scratch: apsw.Connection, shape: Shape) -> list[tuple[str, tuple[int, ...], tuple[str, ...] | None]]:
    """Give each foreign key's parent table, its columns here, and those named there, None for the parent's key."""
    rows = _asked(
        scratch, 'SELECT id, "table", "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id, seq', shape.name
    )
    found = []
    for _, group in groupby(rows, itemgetter(0)):
        parts = list(group)
        columns = _columns_named(shape, [column for _, _, column, _ in parts])
        parent, named = parts[0][1], parts[0][3]
        found.append((parent, columns, None if named is None else tuple(column for _, _, _, column in parts)))
    return found


def _asked(scratch: apsw.Connection, sql: str, name: str) -> list[tuple[Any, ...]]:
    return scratch.execute(sql, (name,)).fetchall()


def _columns_named(shape: Shape, names: Sequence[str]) -> tuple[int, ...]:
    folded = [fold(column) for column in shape.columns]
    return tuple(folded.index(fold(name)) for name in names)
