"""A table model in Qt: what is announced is what is done, in the thread of the model, for as long as there is one."""

import gc
import weakref
from collections.abc import Iterator
from threading import Thread, get_ident
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftlog import Space
from tests.adapters.qt import application
from tests.todo_app import TodoAdded, TodoCompleted, TodoRemoved, TodoRenamed, todo_app

from PySide6.QtCore import (  # isort: skip  # skipped above, with the reason, where it is not to be had
    QAbstractTableModel,
    QCoreApplication,
    QEvent,
    QObject,
    QPersistentModelIndex,
    Qt,
    qInstallMessageHandler,
)

from driftlog import qt  # isort: skip
from driftlog.qt import LiveTableModel  # isort: skip

ALL = "SELECT * FROM todo ORDER BY text, id"


@pytest.fixture(autouse=True)
def loop() -> QCoreApplication:
    return application()


@pytest.fixture
def space() -> Iterator[Space]:
    with todo_app().open(":memory:") as space:
        yield space


def fill(space: Space, count: int) -> None:
    space.append(*(TodoAdded(id=f"{number:03}", text=f"todo {number:03}") for number in range(count)))


def run() -> None:
    """Have the event loop do what is waiting."""
    QCoreApplication.sendPostedEvents()


def shown(model: QAbstractTableModel) -> list[tuple[object, ...]]:
    return [
        tuple(model.index(row, column).data() for column in range(model.columnCount()))
        for row in range(model.rowCount())
    ]


class Mirror:
    """What somebody knows of a model who hears its signals, and looks only at what they say has changed."""

    def __init__(self, model: LiveTableModel) -> None:
        self.model = model
        self.rows = shown(model)
        self.heard: list[tuple[object, ...]] = []
        self.wrong: list[tuple[object, ...]] = []
        """Signals after which the model was not what they had led to. What a slot raises, Qt would swallow."""
        model.rowsInserted.connect(self.inserted)
        model.rowsRemoved.connect(self.removed)
        model.rowsMoved.connect(self.moved)
        model.dataChanged.connect(self.changed)
        model.layoutChanged.connect(self.laid_out)
        model.modelReset.connect(self.was_reset)

    def inserted(self, _: object, first: int, last: int) -> None:
        self.heard.append(("inserted", first, last))
        self.rows[first:first] = shown(self.model)[first : last + 1]
        self.check()

    def removed(self, _: object, first: int, last: int) -> None:
        self.heard.append(("removed", first, last))
        del self.rows[first : last + 1]
        self.check()

    def moved(self, _: object, first: int, last: int, __: object, to: int) -> None:
        self.heard.append(("moved", first, to))
        rows = self.rows[first : last + 1]
        del self.rows[first : last + 1]
        place = to - len(rows) if first < to else to
        self.rows[place:place] = rows
        self.check()

    def changed(self, first: Any, last: Any) -> None:
        self.heard.append(("changed", first.row(), last.row()))
        self.rows[first.row() : last.row() + 1] = shown(self.model)[first.row() : last.row() + 1]
        if (first.column(), last.column()) != (0, self.model.columnCount() - 1):
            self.wrong.append(self.heard[-1])

    def laid_out(self) -> None:
        self.heard.append(("laid out",))
        if sorted(self.rows, key=repr) != sorted(shown(self.model), key=repr):
            self.wrong.append(self.heard[-1])
        self.rows = shown(self.model)

    def check(self) -> None:
        if self.rows != shown(self.model):
            self.wrong.append(self.heard[-1])

    def was_reset(self) -> None:
        self.heard.append(("reset",))
        self.rows = shown(self.model)


def test_a_change_is_announced_as_what_it_is(space: Space) -> None:
    fill(space, 5)
    model = LiveTableModel(space, ALL, columns={"text": "What", "done": "Done"})
    mirror = Mirror(model)
    run()
    assert mirror.heard == [("inserted", 0, 4)]
    assert [model.headerData(one, Qt.Orientation.Horizontal) for one in range(3)] == ["What", "Done", None]

    for event, heard in (
        (TodoCompleted(id="003"), [("changed", 3, 3)]),
        (TodoRemoved(id="000"), [("removed", 0, 0)]),
        (TodoAdded(id="a", text="todo 002 and a half"), [("inserted", 2, 2)]),
        (TodoRenamed(id="001", text="zebra"), [("moved", 0, 5), ("changed", 4, 4)]),
        (TodoRenamed(id="001", text="ape"), [("moved", 4, 0), ("changed", 0, 0)]),
    ):
        mirror.heard.clear()
        space.append(event)
        run()
        assert mirror.heard == heard

    assert mirror.rows == shown(model) == [(row.text, row.done) for row in space.query(ALL)]
    assert mirror.wrong == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 9), unique=True, max_size=9), min_size=1, max_size=6),
    st.sampled_from([0, qt.MOVES_MAX]),
)
def test_whatever_changes_a_listener_and_its_persistent_indexes_know_all(answers: list[list[int]], moves: int) -> None:
    """Each answer is some of ten todos in some order."""
    application()
    with pytest.MonkeyPatch.context() as patch, todo_app().open(":memory:") as space:
        patch.setattr(qt, "MOVES_MAX", moves)
        fill(space, 10)
        model = LiveTableModel(space, ALL, columns=["id", "text"], key=["id"])
        said: list[str] = []
        tester = watched_by_qt(model, said)
        mirror = Mirror(model)
        for number, wanted in enumerate(answers):
            held = [(row[0], QPersistentModelIndex(model.index(place, 1))) for place, row in enumerate(mirror.rows)]
            order = " ".join(f"WHEN '{one:03}' THEN {place}" for place, one in enumerate(wanted))
            among = ", ".join(f"'{one:03}'" for one in wanted)
            # Every third answer has other texts, so that what moves changes as well.
            texts = f"SELECT id, text || {number // 3} AS text FROM todo"
            model.ask(f"{texts} WHERE id IN ({among}) ORDER BY CASE id {order or 'WHEN 1 THEN 1'} END", key=["id"])
            run()
            assert [row[0] for row in shown(model)] == [f"{one:03}" for one in wanted]
            assert mirror.rows == shown(model)
            for one, index in held:
                assert index.isValid() == (int(str(one)) in wanted), "an index lives as long as its row"
                assert not index.isValid() or model.row(index).id == one
        assert mirror.wrong == []
        assert said == []
        del tester
        qInstallMessageHandler(None)


def watched_by_qt(model: LiveTableModel, said: list[str]) -> QObject | None:
    """Have Qt's own tester look at every signal; None where the libraries of QtTest are not to be had."""
    try:
        from PySide6.QtTest import QAbstractItemModelTester
    except ImportError:
        return None
    qInstallMessageHandler(lambda *message: said.append(message[2]))
    return QAbstractItemModelTester(model, QAbstractItemModelTester.FailureReportingMode.Warning)


def test_many_rows_that_move_are_one_new_layout(space: Space) -> None:
    fill(space, 300)
    model = LiveTableModel(space, ALL, columns=["id"])
    mirror = Mirror(model)
    run()
    held = QPersistentModelIndex(model.index(3, 0))
    mirror.heard.clear()

    model.ask("SELECT * FROM todo ORDER BY text DESC", key=["id"])
    run()

    assert mirror.heard == [("laid out",)]
    assert mirror.wrong == []
    assert (held.row(), model.row(296).id) == (296, "003")


def test_another_thread_writes_and_the_model_changes_in_its_own(space: Space) -> None:
    called_in: set[int] = set()
    model = LiveTableModel(space, ALL, columns=["text"])
    model.rowsInserted.connect(lambda: called_in.add(get_ident()), Qt.ConnectionType.DirectConnection)
    run()

    writer = Thread(target=fill, args=(space, 1))
    writer.start()
    writer.join()
    assert shown(model) == [], "nothing changes behind the back of the loop"
    run()

    assert shown(model) == [("todo 000",)]
    assert called_in == {get_ident()}


def test_what_changes_while_the_loop_is_busy_is_one_change(space: Space) -> None:
    model = LiveTableModel(space, ALL, columns=["text"])
    mirror = Mirror(model)
    run()

    fill(space, 3)
    space.append(TodoRemoved(id="001"))
    run()

    assert mirror.heard == [("inserted", 0, 1)]


def test_twenty_models_are_one_way_to_be_called(space: Space) -> None:
    models = [LiveTableModel(space, ALL, columns=["id"]) for _ in range(20)]
    fill(space, 1)
    run()

    assert [shown(model) for model in models] == [[("000",)]] * 20


def test_the_space_lets_go_of_a_model_that_its_parent_deletes(space: Space) -> None:
    parent = QObject()
    model = LiveTableModel(space, ALL, parent=parent)
    LiveTableModel(space, "SELECT id FROM todo", parent=parent)
    run()
    assert len(space._engine.live._watched) == 2, "the parent keeps the one that Python has let go of"

    parent.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)

    assert not space._engine.live._watched
    del model


def test_the_space_keeps_no_model_that_python_lets_go_of(space: Space) -> None:
    model = LiveTableModel(space, ALL)
    run()
    gone = weakref.ref(model)

    del model
    gc.collect()

    assert gone() is None
    assert not space._engine.live._watched


def test_a_closed_model_shows_what_it_showed(space: Space) -> None:
    fill(space, 1)
    model = LiveTableModel(space, ALL, columns=["text"])
    run()

    model.close()
    space.append(TodoRemoved(id="000"))
    run()

    assert shown(model) == [("todo 000",)]


def test_without_columns_all_of_the_query_are_shown_once_there_is_a_row(space: Space) -> None:
    model = LiveTableModel(space, ALL)
    mirror = Mirror(model)
    run()
    assert (model.columnCount(), model.rowCount()) == (0, 0)

    fill(space, 2)
    run()
    model.ask("SELECT text AS what, id FROM todo ORDER BY id")
    run()

    assert mirror.heard == [("reset",), ("reset",)]
    assert shown(model) == [("todo 000", "000"), ("todo 001", "001")]
    assert [model.headerData(one, Qt.Orientation.Horizontal) for one in range(2)] == ["what", "id"]
    assert model.headerData(0, Qt.Orientation.Vertical) is None
    assert model.columnCount(model.index(0, 0)) == 0, "a table has no rows within rows"
    assert len(space._engine.live._watched) == 1, "the first question is asked no more"


def test_each_column_is_a_role_by_its_name(space: Space) -> None:
    fill(space, 1)
    model = LiveTableModel(space, ALL, columns=["text", "done"])
    run()

    role_by_name = {bytes(name.data()).decode(): role for role, name in model.roleNames().items()}
    assert model.index(0, 0).data(role_by_name["done"]) == 0
    assert model.index(0, 0).data(role_by_name["text"]) == "todo 000"
    assert model.index(0, 1).data(Qt.ItemDataRole.EditRole) == 0
    assert model.index(0, 0).data(Qt.ItemDataRole.UserRole + 3) is None
    assert model.index(0, 0).data(Qt.ItemDataRole.DecorationRole) is None
    assert "display" in role_by_name


def test_a_column_that_the_query_lacks_is_told_to_on_error_and_nothing_is_shown(space: Space) -> None:
    fill(space, 1)
    errors: list[Exception] = []
    model = LiveTableModel(space, ALL, columns=["text", "due"], on_error=errors.append)
    run()

    assert [str(error) for error in errors] == ["\"no column 'due'; this row has id, text, done\""]
    assert model.rowCount() == 0
