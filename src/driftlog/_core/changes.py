"""What transactions changed, row by row, for whoever must tell whether that concerns them.

It may say too much, never too little: a change that was rolled back to a savepoint may still be among the rows, and past a
bound only the names of the tables are kept. Of each row, the first change begins with the row as it was before all of them.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

ROWS_MAX: Final = 10_000
"""Of changed rows kept before only their tables are: some 5 MB. To look more rows up costs as much as asking again."""


class RowChange(NamedTuple):
    """A row of a table before and after one statement; None where there is none."""

    table: str
    old: Sequence[Any] | None
    new: Sequence[Any] | None


class Changes:
    """Collected changes."""

    __slots__ = ("is_everything", "rows", "tables")

    def __init__(self) -> None:
        self.rows: list[RowChange] = []
        self.tables: set[str] = set()
        """Of which it is only known that they changed."""
        self.is_everything = False
        """Whether any table may have changed: the view was made anew, or another process has written."""

    def __bool__(self) -> bool:
        return self.is_everything or bool(self.rows) or bool(self.tables)

    def add(self, change: RowChange) -> None:
        """Add a row; too many of them, and only their tables are kept."""
        self.rows.append(change)
        if len(self.rows) > ROWS_MAX:
            self._forget_rows()

    def add_all(self, later: "Changes") -> None:
        """Add what came after."""
        self.rows += later.rows
        self.tables |= later.tables
        self.is_everything = self.is_everything or later.is_everything
        if len(self.rows) > ROWS_MAX:
            self._forget_rows()

    def _forget_rows(self) -> None:
        self.tables.update(change.table for change in self.rows)
        self.rows.clear()
