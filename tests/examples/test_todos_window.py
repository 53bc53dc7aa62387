"""The todos in a window: what a user does is appended, and what is appended is shown."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from examples.todos.app import TodoAdded, TodoTicked, app

from tests.adapters.qt import application

pytest.importorskip("PySide6.QtWidgets", reason="Qt's windows need system libraries (libegl1, …)", exc_type=ImportError)

from examples.todos.window import Todos
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Todos]:
    application()
    with app.open(tmp_path / "todos.db") as space:
        space.append(TodoAdded(id="1", text="milk"), TodoAdded(id="2", text="bread"))
        window = Todos(space)
        window.show()
        application().processEvents()
        yield window
        window.close()


def lines(window: Todos) -> list[str]:
    application().processEvents()
    tick = {Qt.CheckState.Checked: "✓ ", Qt.CheckState.Unchecked: ""}
    indexes = [window.model.index(place, 0) for place in range(window.model.rowCount())]
    return [tick[Qt.CheckState(index.data(Qt.ItemDataRole.CheckStateRole))] + index.data() for index in indexes]


def test_todos_are_typed_ticked_and_removed(window: Todos) -> None:
    assert lines(window) == ["bread", "milk"]

    QTest.keyClicks(window.line, "figs")
    QTest.keyClick(window.line, Qt.Key.Key_Return)
    assert lines(window) == ["bread", "figs", "milk"]
    assert window.line.text() == ""

    window.view.setCurrentIndex(window.model.index(1, 0))
    QTest.keyClick(window.view, Qt.Key.Key_Space)
    assert lines(window) == ["bread", "milk", "✓ figs"]
    assert window.view.currentIndex().data() == "figs", "the selection goes with its row"

    window.space.append(TodoTicked(id="2", done=True))
    assert lines(window) == ["milk", "✓ bread", "✓ figs"]

    window.view.setFocus()
    QTest.keyClick(window.view, Qt.Key.Key_Delete)
    assert lines(window) == ["milk", "✓ bread"]
