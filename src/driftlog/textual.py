"""Live queries in Textual: a table that shows an answer and is kept in step with it, row by row.

The subscription begins when the table is mounted and ends when it is unmounted. Answers are told in the app's own thread,
whoever wrote. Who writes, and what a key press means, is the app's affair: nothing here appends.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Final

try:
    from rich.console import RenderableType
    from rich.text import Text
    from textual.coordinate import Coordinate
    from textual.widgets import DataTable
    from textual.widgets.data_table import ColumnKey, RowKey
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'Textual shows tables in a terminal, and is not installed: pip install "driftlog[textual]"', name=error.name
    ) from None

from driftlog._reactive.difference import NO_DIFFERENCE, Difference
from driftlog._sqlite.rows import Parameters, Row
from driftlog.space.answer import Answer, OnError, Subscription
from driftlog.space.space import Space

__all__ = ["LiveTable"]

_REMOVED_MAX: Final = 50
"""Of rows taken out one by one. Textual numbers all others anew for each, so past that the table is filled again."""


class LiveTable(DataTable[RenderableType]):
    """A `DataTable` of a live query's rows.

    A row that changed is written over in its place, and no other is touched. The cursor stays on its row wherever that
    goes, and what is scrolled to stays where it is on the screen. `columns` names those to show, and their headings if it is
    a mapping; without it, all of the query's are shown as soon as there is a row. `key` is as with `space.subscribe`.

    Set Textual's own options on it afterwards: `table.zebra_stripes = True`.
    """

    def __init__(
        self,
        space: Space,
        sql: str,
        parameters: Parameters = (),
        *,
        columns: Mapping[str, str] | Sequence[str] | None = None,
        key: Sequence[str] | None = None,
        on_error: OnError | None = None,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - Textual's word
        classes: str | None = None,
        disabled: bool = False,
    ) -> None:
        super().__init__(cursor_type="row", name=name, id=id, classes=classes, disabled=disabled)
        self._space = space
        self._asked: tuple[str, Parameters, Sequence[str] | None] = (sql, parameters, key)
        self._headings = columns
        self._on_error = on_error
        self._subscription: Subscription | None = None
        self._answer = Answer((), NO_DIFFERENCE, None)
        self._keys: list[str] = []
        """Textual's keys of the rows, from the top. Numbers of our own: a row's own key need be neither text nor unique."""
        self._numbers = count()

    # --- what an app asks ---------------------------------------------------------------------------------------------

    @property
    def answer(self) -> Sequence[Row]:
        """The rows that are shown, from the top."""
        return self._answer.rows

    @property
    def current(self) -> Row | None:
        """The row under the cursor, None in an empty table."""
        return self._answer.rows[self.cursor_row] if self.cursor_row < len(self._answer) else None

    def row_of(self, key: RowKey) -> Row | None:
        """Give the row that a message of Textual is about (`event.row_key`), None if it has gone meanwhile."""
        return self._answer.rows[self.get_row_index(key)] if key in self.rows else None

    def ask(self, sql: str, parameters: Parameters = (), *, key: Sequence[str] | None = None) -> None:
        """Show another query from now on, as a search does while somebody types; rows that stay are kept in place."""
        self._asked = (sql, parameters, key)
        if self._subscription is not None:
            self._subscribe()

    def cell(self, row: Row, column: str) -> RenderableType:
        """Give what a cell shows; override it. Text is shown as it is, markup in it means nothing; numbers are put right."""
        value = row[column]
        if isinstance(value, int | float):
            return Text(str(value), justify="right")
        return Text("" if value is None else value if isinstance(value, str) else value.hex())

    # --- beginning and end ----------------------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Begin. A class derived from this may have an `on_mount` of its own: Textual calls both."""
        self._add_columns(self._headings or ())
        self._subscribe()

    def on_unmount(self) -> None:
        """End: the space keeps nothing of this table."""
        if self._subscription is not None:
            self._subscription.close()

    def _subscribe(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
        sql, parameters, key = self._asked

        def told(answer: Answer) -> None:
            # Once more through the queue, now of this table: an error there ends the app, as that of any handler does.
            self.call_later(self._show, answer)

        # One way to be called for all tables of an app, because a space has 16 of them at most.
        self._subscription = self._space.subscribe(
            sql, told, parameters, key=key, call_soon=self.app.call_later, on_error=self._on_error
        )

    # --- showing --------------------------------------------------------------------------------------------------------

    def _show(self, answer: Answer) -> None:
        if self._headings is None and len(answer):
            self._name_columns(list(answer[0]._asdict()))
        before, self._answer = self._answer, answer
        # All added: the first answer to another question, or as good as that.
        is_first = len(answer.difference.added) == len(answer)
        difference = answer.since(before).difference if is_first else answer.difference
        keys, cursor, top = self._keys, self.cursor_coordinate, round(self.scroll_target_y)
        with self.prevent(self.RowHighlighted, self.CellHighlighted, self.ColumnHighlighted):
            # Out of Textual's way, which scrolls to the cursor whenever it has to move it because the table became shorter.
            self.set_reactive(DataTable.cursor_coordinate, Coordinate(0, cursor.column))
            self._apply(difference)
        self._settle(keys, cursor, top)

    def _name_columns(self, names: list[str]) -> None:
        if names != [column.value for column in self.columns]:
            self.clear(columns=True)
            self._keys, self._answer = [], Answer((), NO_DIFFERENCE, None)
            self._add_columns(names)

    def _add_columns(self, columns: Mapping[str, str] | Sequence[str]) -> None:
        for name in columns:
            self.add_column(Text(columns[name] if isinstance(columns, Mapping) else name), key=name)

    def _cells(self, row: Row) -> Iterator[tuple[str, RenderableType]]:
        for column in self.columns:
            assert column.value is not None, "`_add_columns` names all of them"
            yield column.value, self.cell(row, column.value)

    def _add(self, key: str, row: Row) -> None:
        self.add_row(*(cell for _, cell in self._cells(row)), key=key)

    def _apply(self, difference: Difference) -> None:
        new = [str(next(self._numbers)) for _ in difference.added]
        old, self._keys = self._keys, _rearranged(self._keys, difference, new)
        if len(difference.removed) > _REMOVED_MAX:
            self.clear()
            for key, row in zip(self._keys, self._answer.rows, strict=True):
                self._add(key, row)
            return
        for removed in difference.removed:
            self.remove_row(old[removed.index])
        for key, added in zip(new, difference.added, strict=True):
            self._add(key, added.row)
        for changed in difference.changed:
            self._write_over(self._keys[changed.index], changed.row)
        if new or difference.moved:
            self._order()

    def _write_over(self, key: str, row: Row) -> None:
        for column, cell in self._cells(row):
            if cell != self.get_cell(key, column):
                # Textual measures the whole column again for a narrower cell, so columns become wider only.
                width = self.columns[ColumnKey(column)].content_width
                self.update_cell(key, column, cell, update_width=not isinstance(cell, Text) or cell.cell_len > width)

    def _order(self) -> None:
        """Put rows where they belong: Textual adds them at the end, and moves them by sorting alone."""
        place_by_key = {key: place for place, key in enumerate(self._keys)}
        if [row.key.value for row in self.ordered_rows] != self._keys:
            # It asks for each row's key once, in the order in which it holds them; what they show says nothing here.
            places = iter([place_by_key[key.value or ""] for key in self.rows])
            self.sort(key=lambda _cells: next(places))
        assert [row.key.value for row in self.ordered_rows] == self._keys

    def _settle(self, keys: list[str], cursor: Coordinate, top: int) -> None:
        """Put the cursor and the screen where they were: on their rows, or on the nearest that are still there."""
        place_by_key = {key: place for place, key in enumerate(self._keys)}

        def place_of(old: int) -> int:
            near = (place_by_key[key] for key in (*keys[old:], *reversed(keys[:old])) if key in place_by_key)
            return next(near, max(min(old, len(self._keys) - 1), 0))

        row = place_of(cursor.row)
        self.set_reactive(DataTable.cursor_coordinate, Coordinate(row, cursor.column))
        if self._keys and self.cursor_type == "row" and self._keys[row : row + 1] != keys[cursor.row : cursor.row + 1]:
            self.post_message(self.RowHighlighted(self, row, RowKey(self._keys[row])))
        # At the very top it stays there, so that what is new on top is seen.
        lines = self.scrollable_content_region.height - self.header_height
        held = cursor.row if top <= cursor.row < top + lines else top
        wanted = top + place_of(held) - held if top else 0
        if wanted != self.scroll_target_y:
            self.call_after_refresh(self.scroll_to, y=wanted, animate=False)


def _rearranged(keys: list[str], difference: Difference, new: list[str]) -> list[str]:
    """Give the keys of an answer's rows from those of the one before; see `Difference.apply`."""
    after = list(keys)
    for index in sorted(
        [one.index for one in difference.removed] + [one.before for one in difference.moved], reverse=True
    ):
        del after[index]
    put = [(one.index, key) for one, key in zip(difference.added, new, strict=True)]
    put += [(one.index, keys[one.before]) for one in difference.moved]
    for index, key in sorted(put):
        after.insert(index, key)
    return after
