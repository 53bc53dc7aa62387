"""The todos in a terminal, a window and a page: what a user does is appended, and what is appended is shown."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
from examples.todos.app import OPEN_FIRST, TodoAdded, TodoTicked, add, app, opened
from examples.todos.terminal import Todos, TodoTable

from driftlog import Space
from driftlog.testing import RelayThread


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    with app.open(tmp_path / "todos.db") as space:
        space.append(TodoAdded(id="1", text="milk"), TodoAdded(id="2", text="bread"))
        yield space


def test_in_the_terminal_todos_are_typed_ticked_and_removed(space: Space) -> None:
    screen = Todos(space)

    def lines() -> list[str]:
        table = screen.query_one(TodoTable)
        return [" ".join(str(cell) for cell in table.get_row_at(place)) for place in range(table.row_count)]

    async def run() -> None:
        async with screen.run_test() as pilot:
            await pilot.press(*"figs", "enter", "tab", "down", "enter")
            await pilot.pause()
            assert lines() == [" bread", " milk", "✓ figs"]
            await pilot.press("enter", "up", "up", "delete")
            await pilot.pause()
            assert lines() == [" figs", " milk"]
            space.append(TodoTicked(id="1", done=True))
            await pilot.pause()
            assert lines() == [" figs", "✓ milk"]

    asyncio.run(run())


def test_a_second_device_joins_the_list_through_a_relay(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], driftlog_relay: RelayThread
) -> None:
    anns, bobs, relay = str(tmp_path / "ann.db"), str(tmp_path / "bob.db"), ["--relay", driftlog_relay.url]
    with pytest.raises(SystemExit), opened("", [anns, "--invite"]):
        pass
    link = capsys.readouterr().out.strip()
    arrived = Event()

    with opened("", [anns, *relay]) as ann, opened("", [bobs, *relay, "--join", link]) as bob:
        bob.subscribe(OPEN_FIRST, lambda answer: arrived.set() if answer else None)
        add(ann, "  milk ")
        add(ann, "  ")

        assert arrived.wait(timeout=20)
        assert [row.text for row in bob.query(OPEN_FIRST)] == ["milk"]
