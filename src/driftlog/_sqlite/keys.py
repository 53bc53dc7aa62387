"""A row's key as somebody asks for it: checked against the table's declaration, and compared as SQLite compares it."""

import reprlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import apsw

from driftlog._sqlite.rows import SqlValue
from driftlog._sqlite.sqltext import fold
from driftlog._sqlite.tables import Table, TableSet
from driftlog.errors import InvalidKey

INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 63) - 1

_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "INT": (int,),
    "INTEGER": (int,),
    "TEXT": (str,),
    "BLOB": (bytes,),
    "REAL": (float, int),
    "ANY": (int, str, bytes, float),
}
"""What Python gives for each type of a STRICT table. A key is never NULL: INTEGER keys and WITHOUT ROWID see to it."""

_FOLDS: Final[dict[str, Callable[[str], str]]] = {
    "BINARY": lambda text: text,
    "NOCASE": fold,
    "RTRIM": lambda text: text.rstrip(" "),
}
"""SQLite's own collations, which are all that an app can name."""

# SQL: the columns of a table's key in their order, with the collation of the key's index, absent where the key is the rowid.
_KEY_COLUMNS: Final = """
SELECT c.name, upper(c.type), coalesce(
  (SELECT x.coll FROM pragma_index_list(?1) AS i, pragma_index_xinfo(i.name) AS x
   WHERE i.origin = 'pk' AND x.key AND x.cid = c.cid), 'BINARY')
FROM pragma_table_xinfo(?1) AS c WHERE c.pk ORDER BY c.pk
"""


class _Column(NamedTuple):
    name: str
    type: str
    collation: str


class RowKey:
    """A table and the key of a row that is or was or could be in it."""

    def __init__(self, table: Table, columns: Sequence[_Column], values: Sequence[SqlValue]) -> None:
        self.table = table
        self._columns = columns
        self._values = tuple(values)
        self._folded = self._fold(values)

    def is_of(self, values: Sequence[SqlValue]) -> bool:
        """Tell whether a stored key is this one: under NOCASE, 'a' and 'A' are."""
        return self._fold(values) == self._folded

    def exact_values(self) -> Iterator[SqlValue]:
        """Give those of its values that can be stored in one way only: every row with this key holds them just so."""
        for column, value in zip(self._columns, self._values, strict=True):
            # 1 and 1.0 are one key of type ANY, 0.0 and -0.0 one of type REAL.
            if column.collation == "BINARY" and column.type not in ("ANY", "REAL"):
                yield value

    def _fold(self, values: Sequence[SqlValue]) -> list[SqlValue]:
        return [
            _FOLDS[column.collation](value) if isinstance(value, str) else value
            for column, value in zip(self._columns, values, strict=True)
        ]


def row_key(connection: apsw.Connection, tables: TableSet, name: str, key: SqlValue | Sequence[SqlValue]) -> RowKey:
    """Read what an app's user gave as a table and a key, or raise `InvalidKey`. The connection holds the app's tables."""
    wanted = fold(str(name))
    table = next((table for table in tables.tables if fold(table.name) == wanted), None)
    if table is None:
        known = ", ".join(table.name for table in tables.tables) or "none"
        raise InvalidKey(f"{_said(name)} is not one of the app's tables; give one of {known}")
    columns = [_Column(*row) for row in connection.execute(_KEY_COLUMNS, (table.name,))]
    values = key if isinstance(key, Sequence) and not isinstance(key, (str, bytes)) else (key,)
    if len(values) != len(columns):
        names = ", ".join(column.name for column in columns)
        raise InvalidKey(
            f"{_said(key)} has {len(values)} of the {len(columns)} values of a key of {table.name}; give ({names})"
        )
    for column, value in zip(columns, values, strict=True):
        if not _fits(value, column.type):
            kinds = " or ".join(one.__name__ for one in _TYPES[column.type])
            raise InvalidKey(
                f"{_said(value)} ({type(value).__name__}) cannot stand in {table.name}.{column.name}, which is "
                f"{column.type}; give {kinds}, as a row of the table holds it"
            )
    return RowKey(table, columns, values)


_short: Final = reprlib.Repr()
_short.maxstring = _short.maxother = 100


def _said(value: object) -> str:
    """Give what was asked for as an error says it: of what is long, a part."""
    try:
        return _short.repr(value)
    except ValueError:
        # Python writes no integer of more than some thousand digits.
        return "a very long integer"


def _fits(value: SqlValue, column_type: str) -> bool:
    if isinstance(value, int):
        return int in _TYPES[column_type] and INT_MIN <= value <= INT_MAX
    if isinstance(value, str) and not value.isascii():
        # Half of a surrogate pair, as a command line may hold it, is text to Python alone.
        return str in _TYPES[column_type] and not any("\ud800" <= char <= "\udfff" for char in value)
    return isinstance(value, _TYPES[column_type])
