"""Devices with clocks of their own, and what is said of how they differ."""

import datetime

import pytest

from driftlog import App, State, ViewTransaction
from driftlog.testing import Crew
from tests.todo_app import TABLES, TodoAdded, TodoCompleted, todo_app

DAY_MS = 86_400_000


def test_devices_exchange_nothing_until_they_meet_and_are_compared_as_they_are() -> None:
    with Crew(todo_app(), 3) as crew:
        crew[0].append(TodoAdded(id="1", text="milk"))
        crew[2].append(TodoAdded(id="2", text="bread"))

        lacking = "B lacks 1 event of A's, the first is TodoAdded(id='1', text='milk') by A"
        assert crew.difference() == f"{lacking}; they have none in common"
        crew.meet(0, 1)
        assert crew.difference() == (
            "A lacks 1 event of C's, the first is TodoAdded(id='2', text='bread') by C; they have none in common"
        )
        assert [len(space.query("SELECT * FROM todo")) for space in crew] == [1, 1, 1]
        crew.meet(1, 2)
        assert crew.difference() == (
            "A lacks 1 event of B's, the first is TodoAdded(id='2', text='bread') by C; "
            "the last that both hold is TodoAdded(id='1', text='milk') by A"
        )
        crew.meet()
        assert crew.difference() is None
        assert [len(space.query("SELECT * FROM todo")) for space in crew] == [2, 2, 2]


def test_rows_that_somebody_has_changed_behind_the_log_are_named() -> None:
    with Crew(todo_app(), 2) as crew:
        for number in range(7):
            crew[0].append(TodoAdded(id=str(number), text="milk"))
        crew.meet()
        with crew[1]._engine.writing() as store:
            store.connection.execute("UPDATE todo SET done = 1")
            store.connection.execute("DELETE FROM todo WHERE id = '6'")

        said = crew.difference()

        assert said is not None
        first, *_, last = said.splitlines()
        assert first == "in table todo, row id='0' has done=0 at A, and done=1 at B; changed by event 1"
        assert last == "they differ from event 1 on, TodoAdded(id='0', text='milk') by A"
        assert "\nand 2 rows more\n" in said
        with pytest.raises(AssertionError, match=r"differ: in table todo, row .* at B, and .* at a device that joins"):
            crew.assert_agreement()


def test_of_a_row_that_differs_it_is_said_who_changed_it_and_since_when_the_tables_are_not_alike() -> None:
    numbers = iter(range(100))
    app = App("org.example.moody", tables=TABLES)

    @app.on(TodoAdded)
    def added(tx: ViewTransaction, event: TodoAdded) -> None:
        tx.execute("INSERT INTO todo (id, text) VALUES (?, ?)", (event.id, event.text))

    @app.on(TodoCompleted)
    def completed(tx: ViewTransaction, event: TodoCompleted) -> None:
        tx.execute("UPDATE todo SET text = text || ? WHERE id = ?", (str(next(numbers)), event.id))

    with Crew(app, 2) as crew:
        crew[0].append(TodoAdded(id="1", text="m" * 100), TodoAdded(id="2", text="bread"))
        crew[0].append(TodoCompleted(id="1"))
        crew.meet()
        crew[1].append(TodoAdded(id="3", text="figs"))
        crew.meet()

        assert crew.difference() == (
            "in table todo, row id='1' has text=…mmmmmmmmmmmmmmm0' (103 characters) at A, "
            "and text=…mmmmmmmmmmmmmmm1' (103 characters) at B; changed by events 1, 3\n"
            "they are alike up to event 2, and differ from event 3 on, TodoCompleted(id='1') by A"
        )


def test_a_row_that_is_on_one_device_only_is_told_as_that() -> None:
    with Crew(todo_app(), 2) as crew:
        crew[0].append(TodoAdded(id="1", text="milk"))
        crew.meet()
        with crew[0]._engine.writing() as store:
            store.connection.execute("DELETE FROM todo")

        said = crew.difference() or ""

        assert "row id='1' is not there at A, and has id='1', text='milk', done=0 at B; changed by event 1" in said


def test_a_device_that_looks_at_the_date_sees_another_than_the_rest() -> None:
    app = App("org.example.dated", tables=TABLES)

    @app.on(TodoAdded)
    def added(tx: ViewTransaction, event: TodoAdded) -> None:
        tx.execute("INSERT INTO todo (id, text) VALUES (?, ?)", (event.id, str(datetime.datetime.now().date())))

    with Crew(app, 2) as crew:
        with crew.at(0) as space:
            space.append(TodoAdded(id="1", text="milk"))
        crew.meet()

        assert "row id='1'" in (crew.difference() or "")


def test_what_a_fast_clock_stamped_is_held_until_all_have_settled() -> None:
    with Crew(todo_app(), 2) as crew:
        crew.set_clock(0, 3 * DAY_MS)
        with crew.at(0) as space:
            space.append(TodoAdded(id="1", text="milk"))
        crew.meet()
        assert crew[1].status().held == 1

        crew.assert_agreement()

        assert crew[1].status().held == 0


def test_a_slow_clock_makes_an_event_late() -> None:
    with Crew(todo_app(), 2) as crew:
        crew.set_clock(1, -DAY_MS)
        for device, text in ((0, "milk"), (1, "bread")):
            with crew.at(device) as space:
                space.append(TodoAdded(id="1", text=text))
        crew.wait(1_000)

        crew.assert_agreement()

        assert [entry.state for entry in crew[0].log()] == [State.APPLIED, State.REJECTED]
        assert crew[0].query("SELECT text FROM todo") == [("bread",)]


def test_a_verdict_that_differs_is_named_before_the_rows() -> None:
    verdicts = iter([True, False, True, False])
    app = App("org.example.moody", tables=TABLES)

    @app.on(TodoCompleted)
    def completed(tx: ViewTransaction, event: TodoCompleted) -> None:
        assert next(verdicts), "a bad day"

    with Crew(app, 2) as crew:
        crew[0].append(TodoCompleted(id="1"))
        crew.meet()

        assert "event 1, TodoCompleted(id='1') by A, is applied at A, and rejected (" in (crew.difference() or "")


def test_a_crew_is_described_for_people_whose_test_has_failed_closed_devices_included() -> None:
    with Crew(todo_app(), 2) as crew:
        crew[0].append(TodoAdded(id="1", text="milk"))
        assert crew.describe().splitlines() == [
            "A: 1 event, 0 rejected, 0 held",
            "B: 0 events, 0 rejected, 0 held",
            "B lacks 1 event of A's, the first is TodoAdded(id='1', text='milk') by A; they have none in common",
        ]
        crew[1].close()
        assert "closed" in crew.describe()


def test_a_crew_has_one_to_eight_devices() -> None:
    for count in (0, 9):
        with pytest.raises(ValueError, match=f"a fleet of {count} devices; ask for 1 to 8"):
            Crew(todo_app(), count)


def test_a_device_that_is_not_there_is_named() -> None:
    with Crew(todo_app(), 2) as crew:
        with pytest.raises(ValueError, match="device 2 of a fleet of 2; they count from 0"):
            crew.set_clock(2, 1)
        with pytest.raises(ValueError, match="device -1"):
            crew.meet(0, -1)
        with pytest.raises(ValueError, match="device 7"), crew.at(7):
            pass
