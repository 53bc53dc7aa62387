"""The todos in a terminal, with Textual: `python -m examples.todos.terminal`."""

from typing import ClassVar

from examples.todos.app import OPEN_FIRST, TodoRemoved, TodoTicked, add, opened
from rich.console import RenderableType
from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.widgets import DataTable, Footer, Input

from driftlog import Row, Space
from driftlog.textual import LiveTable


class TodoTable(LiveTable):
    """A line for each todo; what is done is struck out."""

    def cell(self, row: Row, column: str) -> RenderableType:
        """Give a tick, or the text."""
        if column == "done":
            return "✓" if row.done else ""
        return Text(row.text, style="strike dim" if row.done else "")


class Todos(App[None]):
    """The list, and a line to type into."""

    TITLE = "Todos"
    BINDINGS: ClassVar[list[BindingType]] = [("delete", "remove", "Remove"), ("ctrl+q", "quit", "Quit")]

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space

    def compose(self) -> ComposeResult:
        """Lay out."""
        yield Input(placeholder="What is to be done?")
        yield TodoTable(self.space, OPEN_FIRST, columns={"done": "", "text": "Todo"})
        yield Footer()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Add what was typed. The table hears of it as of anything else: it was appended."""
        add(self.space, event.value)
        event.input.clear()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Tick, or take the tick away."""
        row = self.query_one(TodoTable).row_of(event.row_key)
        if row is not None:
            self.space.append(TodoTicked(id=row.id, done=not row.done))

    def action_remove(self) -> None:
        """Remove the one under the cursor."""
        row = self.query_one(TodoTable).current
        if row is not None:
            self.space.append(TodoRemoved(id=row.id))


if __name__ == "__main__":
    with opened("Todos in a terminal.") as space:
        Todos(space).run()
