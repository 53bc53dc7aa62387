"""Effects run for what is settled, in order, and never less than once."""

from contextlib import nullcontext
from pathlib import Path

import apsw
import pytest

from driftlog import App, Space
from driftlog.errors import Corrupt, DriftlogError, InvalidApp
from driftlog.space.status import LogEntry
from driftlog.testing import exchange, fleet
from tests.todo_app import Clock, TodoAdded, TodoCompleted, todo_app


class Printer:
    """The world outside, which remembers what was done to it and may be out of paper."""

    def __init__(self) -> None:
        self.printed: list[str] = []
        self.is_empty = False

    def app(self) -> App:
        app = todo_app()

        @app.effect(TodoAdded)
        def print_it(_: Space, entry: LogEntry) -> None:
            assert isinstance(entry.event, TodoAdded)
            if self.is_empty:
                raise OSError("out of paper")
            self.printed.append(entry.event.id)

        return app


@pytest.fixture
def printer() -> Printer:
    return Printer()


def test_each_settled_event_of_the_type_has_its_effect_once_and_in_order(printer: Printer) -> None:
    with printer.app().open(":memory:") as space:
        space.append(TodoAdded(id="1", text=""), TodoCompleted(id="1"), TodoAdded(id="2", text=""))

        assert (space.run_effects(), space.run_effects()) == (2, 0)

        space.append(TodoAdded(id="3", text=""))
        assert space.run_effects() == 1
        assert printer.printed == ["1", "2", "3"]


def test_what_is_not_settled_waits_until_the_others_have_been_heard(printer: Printer) -> None:
    clocks = [Clock(1_000), Clock(1_000)]
    a, b = fleet(printer.app(), 2, clocks=clocks)
    b.append(TodoAdded(id="b", text=""))
    exchange(a, b)
    clocks[0].now_ms = 2_000
    a.append(TodoAdded(id="a", text=""))
    a.run_effects()
    assert printer.printed == ["b"]

    exchange(a, b)
    b.acknowledge()
    exchange(a, b)

    assert a.run_effects() == 1
    assert printer.printed == ["b", "a"]


def test_what_is_rejected_or_undone_by_then_has_no_effect(printer: Printer) -> None:
    with printer.app().open(":memory:") as space:
        [first] = space.append(TodoAdded(id="1", text=""))
        space.append(TodoAdded(id="2", text=""))
        space.undo(first)

        space.run_effects()

        assert printer.printed == ["2"]


def test_an_effect_that_failed_is_tried_again_before_any_other(printer: Printer, tmp_path: Path) -> None:
    with printer.app().open(tmp_path / "todos.db") as space:
        space.append(TodoAdded(id="1", text=""))
        space.run_effects()
        printer.is_empty = True
        space.append(TodoAdded(id="2", text=""), TodoAdded(id="3", text=""))
        with pytest.raises(OSError, match="out of paper"):
            space.run_effects()

    printer.is_empty = False
    with printer.app().open(tmp_path / "todos.db") as space:
        assert space.run_effects() == 2
    assert printer.printed == ["1", "2", "3"]


def test_an_effect_may_append_and_may_not_run_effects(printer: Printer) -> None:
    app = printer.app()
    caught: list[str] = []

    @app.effect(TodoCompleted)
    def follow(space: Space, entry: LogEntry) -> None:
        space.append(TodoAdded(id=f"after {entry.timestamp.hlc}", text=""))
        with pytest.raises(DriftlogError) as error:
            space.run_effects()
        caught.append(str(error.value))

    with app.open(":memory:") as space:
        space.append(TodoAdded(id="1", text=""), TodoCompleted(id="1"))
        assert space.run_effects() == 2
        assert space.run_effects() == 1
    assert "an effect must not run effects" in caught[0]


def test_an_app_without_effects_is_told_how_to_declare_one() -> None:
    with todo_app().open(":memory:") as space, pytest.raises(DriftlogError, match=r"declare one with @app.effect"):
        space.run_effects()


def test_two_effects_of_one_type_and_coroutines_are_refused(printer: Printer) -> None:
    app = printer.app()

    with pytest.raises(InvalidApp, match="'TodoAdded' version 1 has an effect already; do both in one function"):
        app.effect(TodoAdded)(lambda _space, _entry: None)

    async def later(_space: Space, _entry: LogEntry) -> None: ...

    with pytest.raises(InvalidApp, match="is a coroutine or generator; make it a plain function"):
        app.effect(TodoCompleted)(later)  # type: ignore[type-var]  # what is refused


MARK_ALTERED = {
    "its hash": ("substr(value, 1, 70) || x'00' || substr(value, 72)", "by its hash or its stamp", ["3"]),
    "its stamp": ("x'00' || substr(value, 2)", "by its hash or its stamp", ["3"]),
    "all but its stamp": ("substr(value, 1, 8) || zeroblob(64)", "the last event before it", ["2", "3"]),
    "its size": ("substr(value, 2)", "so none will", []),
}


@pytest.mark.parametrize(("value", "remedy", "printed"), MARK_ALTERED.values(), ids=MARK_ALTERED)
def test_no_effect_runs_by_a_mark_that_names_no_event_and_a_repair_finds_the_event(
    printer: Printer, tmp_path: Path, value: str, remedy: str, printed: list[str]
) -> None:
    path, app = tmp_path / "todos.db", printer.app()
    with app.open(path) as space:
        space.append(TodoAdded(id="1", text=""), TodoAdded(id="2", text=""))
        assert space.run_effects() == 2
        space.append(TodoAdded(id="3", text=""))
    printer.printed.clear()
    connection = apsw.Connection(str(path))
    connection.execute(f"UPDATE driftlog_meta SET value = CAST({value} AS BLOB) WHERE key = 'effects'")
    connection.close()
    with app.open(path) as space, pytest.raises(Corrupt, match="Run repair on the file"):
        space.run_effects()

    [finding] = app.repair(path)

    assert remedy in finding.remedy
    with app.open(path) as space, pytest.raises(Corrupt) if not printed else nullcontext():
        space.run_effects()
    assert printer.printed == printed
