"""A table in a terminal: what is drawn again, where the cursor and the screen are, and when it ends."""

import asyncio
import gc
import random
import weakref
from collections.abc import Callable, Coroutine, Iterator
from threading import Thread, get_ident
from typing import Any

import pytest
from rich.console import RenderableType
from rich.text import Text
from textual.app import App as Screen
from textual.app import ComposeResult
from textual.pilot import Pilot
from textual.widgets import DataTable

from driftlog import Row, Space
from driftlog.textual import LiveTable
from tests.todo_app import TodoAdded, TodoCompleted, TodoRemoved, TodoRenamed, todo_app

ALL = "SELECT * FROM todo ORDER BY text, id"


class Table(LiveTable):
    """Remembers what was asked of it."""

    def on_mount(self) -> None:
        self.written: list[tuple[str, str]] = []
        self.removed = 0
        self.called_in: set[int] = set()

    def update_cell(self, row_key: Any, column_key: Any, value: RenderableType, *, update_width: bool = False) -> None:
        self.written.append((column_key, str(value)))
        super().update_cell(row_key, column_key, value, update_width=update_width)

    def remove_row(self, row_key: Any) -> None:
        self.removed += 1
        super().remove_row(row_key)

    def cell(self, row: Row, column: str) -> RenderableType:
        self.called_in.add(get_ident())
        return super().cell(row, column)


class Shown(Screen[None]):
    def __init__(self, space: Space, make: Callable[[Space], LiveTable]) -> None:
        super().__init__()
        self.space = space
        self.make = make
        self.highlighted: list[str] = []

    def compose(self) -> ComposeResult:
        yield self.make(self.space)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        table = self.query_one(LiveTable)
        row = table.row_of(event.row_key)
        self.highlighted.append("gone" if row is None else row.id)


Story = Callable[[Pilot[None], Table], Coroutine[Any, Any, None]]


def shown(space: Space, story: Story, make: Callable[[Space], Table] | None = None) -> Shown:
    """Run a story with a table of all todos on a screen of 24 lines."""
    app = Shown(space, make or (lambda space: Table(space, ALL, columns={"text": "What", "done": "Done"})))

    async def run() -> None:
        async with app.run_test(size=(60, 24)) as pilot:
            await pilot.pause()
            await story(pilot, app.query_one(Table))

    asyncio.run(run())
    return app


def texts(table: LiveTable) -> list[str]:
    return [str(table.get_row_at(place)[0]) for place in range(table.row_count)]


@pytest.fixture
def space() -> Iterator[Space]:
    with todo_app().open(":memory:") as space:
        yield space


def fill(space: Space, count: int) -> None:
    space.append(*(TodoAdded(id=f"{number:03}", text=f"todo {number:03}") for number in range(count)))


def test_the_table_shows_the_answer_and_follows_it(space: Space) -> None:
    fill(space, 3)

    async def story(pilot: Pilot[None], table: Table) -> None:
        assert [str(column.label) for column in table.ordered_columns] == ["What", "Done"]
        assert texts(table) == ["todo 000", "todo 001", "todo 002"]

        space.append(TodoAdded(id="a", text="todo 001 and a half"), TodoRemoved(id="000"))
        await pilot.pause()

        assert texts(table) == ["todo 001", "todo 001 and a half", "todo 002"]
        assert [row.id for row in table.answer] == ["001", "a", "002"]

    shown(space, story)


def test_one_changed_row_writes_one_cell(space: Space) -> None:
    fill(space, 100)

    async def story(pilot: Pilot[None], table: Table) -> None:
        space.append(TodoCompleted(id="050"))
        await pilot.pause()

        assert table.written == [("done", "1")]

    shown(space, story)


def test_a_row_that_moves_and_changes_is_the_same_row(space: Space) -> None:
    fill(space, 5)

    async def story(pilot: Pilot[None], table: Table) -> None:
        key = table.ordered_rows[1].key
        space.append(TodoRenamed(id="001", text="zebra"))
        await pilot.pause()

        assert texts(table) == ["todo 000", "todo 002", "todo 003", "todo 004", "zebra"]
        assert table.ordered_rows[4].key == key
        assert table.written == [("text", "zebra")]

    shown(space, story)


def test_whatever_changes_the_table_shows_the_answer(space: Space) -> None:
    dice = random.Random(20)
    fill(space, 30)

    async def story(pilot: Pilot[None], table: Table) -> None:
        for _ in range(15):
            ids = [row.id for row in space.query("SELECT id FROM todo")]
            removed = dice.sample(ids, min(len(ids), dice.choice([0, 1, 60])))
            kept = [one for one in ids if one not in removed]
            space.append(
                *(TodoRemoved(id=one) for one in removed),
                *(TodoRenamed(id=one, text=str(dice.random())) for one in dice.sample(kept, min(len(kept), 4))),
                *(TodoAdded(id=str(dice.random()), text=str(dice.random())) for _ in range(dice.choice([0, 2, 70]))),
            )
            here = table.current and table.current.id
            await pilot.pause()

            assert texts(table) == [row.text for row in space.query(ALL)]
            if here in kept:
                assert table.current
                assert table.current.id == here
            table.move_cursor(row=dice.randrange(max(table.row_count, 1)))

    shown(space, story)


def test_the_cursor_stays_on_its_row_and_the_row_on_its_line_of_the_screen(space: Space) -> None:
    fill(space, 100)

    async def story(pilot: Pilot[None], table: Table) -> None:
        table.move_cursor(row=60)
        await pilot.pause()
        line = table.cursor_row - table.scroll_y
        above = TodoAdded(id="a", text="a"), TodoAdded(id="b", text="todo 058 and a half")
        space.append(*above, TodoRemoved(id="099"))
        await pilot.pause()

        assert table.current
        assert table.current.id == "060"
        assert table.cursor_row == 62
        assert table.cursor_row - table.scroll_y == line

    app = shown(space, story)
    assert app.highlighted == ["000", "060"], "the row under the cursor stayed the same, so nothing is said of it"


def test_who_has_scrolled_away_from_the_cursor_is_not_taken_back_to_it(space: Space) -> None:
    fill(space, 100)

    async def story(pilot: Pilot[None], table: Table) -> None:
        table.scroll_to(y=70, animate=False)
        await pilot.pause()
        space.append(TodoAdded(id="a", text="a"), TodoRemoved(id="003"), TodoRemoved(id="004"))
        await pilot.pause()
        assert table.answer[int(table.scroll_y)].id == "070"

        table.move_cursor(row=98)
        await pilot.pause()
        table.scroll_to(y=20, animate=False)
        await pilot.pause()
        space.append(TodoRemoved(id="098"), TodoRemoved(id="099"))
        await pilot.pause()
        assert table.answer[int(table.scroll_y)].id == "021"

    shown(space, story)


def test_many_rows_that_go_leave_cursor_and_screen_where_they_are(space: Space) -> None:
    fill(space, 300)

    async def story(pilot: Pilot[None], table: Table) -> None:
        table.move_cursor(row=250)
        await pilot.pause()
        line = table.cursor_row - table.scroll_y
        space.append(*(TodoRemoved(id=f"{number:03}") for number in range(150)))
        await pilot.pause()

        assert table.removed == 0, "filled again: Textual numbers all rows anew for each that is removed"
        assert table.current
        assert table.current.id == "250"
        assert table.cursor_row - table.scroll_y == line

    shown(space, story)


def test_at_the_top_what_is_new_on_top_is_seen(space: Space) -> None:
    fill(space, 100)

    async def story(pilot: Pilot[None], table: Table) -> None:
        space.append(TodoAdded(id="a", text="a"))
        await pilot.pause()

        assert (table.scroll_y, table.cursor_row) == (0, 1)

    shown(space, story)


def test_when_the_row_under_the_cursor_goes_the_next_one_is_highlighted(space: Space) -> None:
    fill(space, 3)

    async def story(pilot: Pilot[None], table: Table) -> None:
        for _ in range(3):
            assert table.current
            space.append(TodoRemoved(id=table.current.id))
            await pilot.pause()
        assert table.current is None

    app = shown(space, story)
    assert app.highlighted == ["000", "001", "002"]


def test_when_the_last_rows_go_the_cursor_is_on_the_one_before(space: Space) -> None:
    fill(space, 5)

    async def story(pilot: Pilot[None], table: Table) -> None:
        table.move_cursor(row=4)
        space.append(*(TodoRemoved(id=f"00{number}") for number in (2, 3, 4)))
        space.append(*(TodoAdded(id=one, text=f"x {one}") for one in "abc"))
        await pilot.pause()

        assert table.current
        assert table.current.id == "001"

    shown(space, story)


def test_without_columns_all_of_the_query_are_shown_once_there_is_a_row(space: Space) -> None:
    async def story(pilot: Pilot[None], table: Table) -> None:
        assert not table.columns
        fill(space, 1)
        await pilot.pause()
        assert [str(column.label) for column in table.ordered_columns] == ["id", "text", "done"]

        table.ask("SELECT text AS what, id FROM todo")
        await pilot.pause()
        assert [str(column.label) for column in table.ordered_columns] == ["what", "id"]
        assert texts(table) == ["todo 000"]

    shown(space, story, lambda space: Table(space, ALL))


def test_another_question_keeps_what_is_in_both_answers(space: Space) -> None:
    fill(space, 50)

    async def story(pilot: Pilot[None], table: Table) -> None:
        table.move_cursor(row=21)
        key = table.ordered_rows[21].key
        table.ask("SELECT * FROM todo WHERE text LIKE ? ORDER BY text", ("%1",))
        await pilot.pause()
        space.append(TodoAdded(id="x", text="another 1"), TodoRenamed(id="001", text="todo 991"))
        await pilot.pause()

        assert texts(table) == ["another 1", "todo 011", "todo 021", "todo 031", "todo 041", "todo 991"]
        assert table.current
        assert table.current.id == "021"
        assert table.ordered_rows[2].key == key

    shown(space, story)


def test_text_is_shown_as_it_is_and_not_as_markup(space: Space) -> None:
    space.append(TodoAdded(id="1", text="[red]not[/nothing] a colour"))

    async def story(pilot: Pilot[None], table: Table) -> None:
        assert table.get_row_at(0) == [Text("[red]not[/nothing] a colour"), Text("0", justify="right")]
        table.add_column(Text("still there"), key="id")
        await pilot.pause()

    shown(space, story)


def test_a_column_becomes_as_wide_as_what_is_written_into_it(space: Space) -> None:
    fill(space, 2)

    async def story(pilot: Pilot[None], table: Table) -> None:
        space.append(TodoRenamed(id="001", text="todo 001, and all that comes with it"))
        await pilot.pause()
        assert table.ordered_columns[0].content_width == 36

    shown(space, story)


def test_another_thread_writes_and_the_table_is_drawn_in_the_apps(space: Space) -> None:
    fill(space, 1)

    async def story(pilot: Pilot[None], table: Table) -> None:
        writer = Thread(target=space.append, args=(TodoAdded(id="a", text="a"),))
        writer.start()
        writer.join()
        await pilot.pause()

        assert texts(table) == ["a", "todo 000"]
        assert table.called_in == {get_ident()}

    shown(space, story)


def test_twenty_tables_of_one_app_are_one_way_to_be_called(space: Space) -> None:
    class Many(Shown):
        def compose(self) -> ComposeResult:
            for _ in range(20):
                yield self.make(self.space)

    app = Many(space, lambda space: LiveTable(space, ALL, columns=["text"]))

    async def run() -> None:
        async with app.run_test() as pilot:
            fill(space, 1)
            await pilot.pause()
            assert [texts(table) for table in app.query(LiveTable)] == [["todo 000"]] * 20

    asyncio.run(run())


def test_an_unmounted_table_is_told_nothing_and_kept_by_nobody(space: Space) -> None:
    fill(space, 1)
    kept: list[weakref.ref[LiveTable]] = []

    async def story(pilot: Pilot[None], table: Table) -> None:
        kept.append(weakref.ref(table))
        written = table.written
        await table.remove()
        del table
        space.append(TodoCompleted(id="000"))
        await pilot.pause()
        assert written == []

    app = shown(space, story)
    assert not space._engine.live._watched
    del app
    gc.collect()
    assert kept[0]() is None


def test_what_a_cell_raises_ends_the_app_as_any_handlers_error_does(space: Space) -> None:
    class Failing(Table):
        def cell(self, row: Row, column: str) -> RenderableType:
            raise RuntimeError(f"no such colour: {row[column]}")

    async def story(pilot: Pilot[None], table: Table) -> None:
        fill(space, 1)
        await pilot.pause()

    with pytest.raises(RuntimeError, match="no such colour"):
        shown(space, story, lambda space: Failing(space, ALL, columns=["text"]))


def test_a_query_that_cannot_be_run_is_told_to_on_error(space: Space) -> None:
    fill(space, 2)
    errors: list[Exception] = []

    async def story(pilot: Pilot[None], table: Table) -> None:
        assert errors
        assert table.row_count == 0

    big = "SELECT sum(9223372036854775807) AS n FROM todo"
    shown(space, story, lambda space: Table(space, big, columns=["n"], on_error=errors.append))
