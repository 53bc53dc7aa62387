"""Why a row is what it is: every event that changed it, however it was reached, and also if it is gone."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from driftlog import App, Event, Space, ViewTransaction
from driftlog._sqlite.rows import SqlValue
from driftlog.errors import AppChanged, Closed, InvalidKey
from driftlog.testing import exchange, fleet
from driftlog.testing.simulation.campaign import quiet
from tests.cases import Case
from tests.machines import Machine
from tests.oracle import Place, fold
from tests.programs import TABLES, Variant
from tests.space.test_upgrades import Counted, times
from tests.todo_app import Clock, TodoAdded, TodoCompleted, TodoRemoved, todo_app

APP = todo_app()


# --- judged by the oracle --------------------------------------------------------------------------------------------

Changes = dict[tuple[str, tuple[SqlValue, ...]], list[Place]]
"""Which events changed a row, by its table and key."""


class Historian(Case):
    """A case whose rows are asked for their history in the end."""

    def ask(self) -> Counter[str]:
        """Compare every row that ever was, on one device, and count what was met."""
        return compare_history(self._machines[-1], self._variant)


def compare_history(machine: Machine, variant: Variant) -> Counter[str]:
    met: Counter[str] = Counter()
    applied = {tuple(entry.timestamp) for entry in machine.space.log() if entry.state == "applied"}
    for (table, key), places in naive_changes(machine, variant).items():
        entries = machine.space.why(table, key)
        told = [tuple(entry.timestamp) for entry in entries]
        assert told == sorted(set(told))
        assert applied.issuperset(told)
        # An event may have changed a row and put it back, so what is told may be more than the difference shows.
        assert set(places) <= set(told), f"{table} {key}"
        met["rows"] += 1
        met["changed again"] += len(places) > 1
        met["gone"] += key not in rows_of(machine.space, table)
    return met


def naive_changes(machine: Machine, variant: Variant) -> Changes:
    """Fold the log up to every place anew, and see in which rows two neighbours differ."""
    facts, placed = machine.witness.facts, machine.witness.placed
    changes: Changes = defaultdict(list)
    before = fold(variant, {}, ()).tables
    names = {table: key_columns(machine.space, table) for table in TABLES}
    for place in sorted(placed):
        then = {fact: entry for fact, entry in facts.items() if fact <= place}
        after = fold(variant, then, placed & then.keys(), skipped=machine.witness.undone()).tables
        for table in TABLES:
            for row in set(before[table].values()) ^ set(after[table].values()):
                key = tuple(row[column] for column in names[table])
                if place not in changes[table, key]:
                    changes[table, key].append(place)
        before = after
    return changes


def key_columns(space: Space, table: str) -> list[int]:
    return [row.cid for row in space.query("SELECT cid FROM pragma_table_xinfo(?) WHERE pk ORDER BY pk", (table,))]


def rows_of(space: Space, table: str) -> set[tuple[SqlValue, ...]]:
    """Give the keys of the rows that are there."""
    columns = key_columns(space, table)
    return {tuple(row[column] for column in columns) for row in space.query(f"SELECT * FROM {table}")}


@pytest.mark.slow
@pytest.mark.parametrize("block", range(2))
def test_every_event_that_changed_a_row_is_told_in_order(block: int, tmp_path: Path) -> None:
    met: Counter[str] = Counter()
    for seed in range(block * 15, block * 15 + 15):
        case = Historian(seed, tmp_path)
        try:
            with quiet():
                case.run(None)
                met += case.ask() + case.counts()
        except AssertionError as error:
            raise AssertionError(f"case {seed}: {error}") from error
        finally:
            case.close()
    expected = ("rows", "changed again", "gone", "cascades", "late", "rejected")
    assert not [kind for kind in expected if not met[kind]], met


# --- what it is ------------------------------------------------------------------------------------------------------

FAMILY = """
CREATE TABLE person (id TEXT PRIMARY KEY, name TEXT COLLATE NOCASE) STRICT;
CREATE TABLE pet (
  owner TEXT REFERENCES person ON DELETE CASCADE ON UPDATE CASCADE, n INTEGER, PRIMARY KEY (n, owner)
) STRICT;
CREATE TABLE alias (name TEXT COLLATE NOCASE PRIMARY KEY, uses INTEGER NOT NULL) STRICT;
CREATE TRIGGER named AFTER INSERT ON person BEGIN
  INSERT INTO alias VALUES (NEW.name, 1) ON CONFLICT DO UPDATE SET uses = uses + 1;
END;
"""


class Ran(Event):
    sql: list[str]


def family_app() -> App:
    app = App("org.example.family", tables=FAMILY)

    @app.on(Ran)
    def ran(tx: ViewTransaction, event: Ran) -> None:
        for statement in event.sql:
            tx.execute(statement)

    return app


def ran(space: Space, *sql: str) -> Ran:
    event = Ran(sql=list(sql))
    space.append(event)
    return event


def test_cascades_triggers_and_removal_belong_to_a_rows_history() -> None:
    with family_app().open(":memory:", clock=Clock()) as space:
        born = ran(space, "INSERT INTO person VALUES ('a', 'Ann')")
        owned = ran(space, "INSERT INTO pet VALUES ('a', 1)", "INSERT INTO pet VALUES ('a', 2)")
        again = ran(space, "INSERT INTO person VALUES ('b', 'ANN')")
        renamed = ran(space, "UPDATE person SET id = 'c' WHERE id = 'a'")
        gone = ran(space, "DELETE FROM person WHERE id = 'c'")

        def told(table: str, *key: str | int) -> list[Event | None]:
            return [entry.event for entry in space.why(table, key)]

        assert told("person", "a") == [born, renamed]
        assert told("person", "c") == [renamed, gone]
        assert told("pet", 2, "a") == [owned, renamed]
        assert told("pet", 2, "c") == [renamed, gone]
        # The trigger's row, found by another spelling of its key.
        assert told("alias", "aNN") == [born, again]
        assert told("person", "nobody") == []


def test_a_late_arrival_takes_its_place_in_a_rows_history_and_a_rejected_event_has_none() -> None:
    clock = Clock()
    here, there = fleet(APP, 2, clocks=[clock, Clock(clock.now_ms - 5000)])
    there.append(TodoAdded(id="a", text="early"))
    here.append(TodoAdded(id="a", text="late"), TodoCompleted(id="a"))
    exchange(here, there)

    for device in (here, there):
        told = [(entry.event, entry.state) for entry in device.why("todo", "a")]
        assert told == [(TodoAdded(id="a", text="early"), "applied"), (TodoCompleted(id="a"), "applied")]
        assert [entry for entry in device.log() if entry.state == "applied"] == device.why("todo", ("a",))
    here.close()
    there.close()


def test_rows_with_like_keys_are_told_apart(tmp_path: Path) -> None:
    with APP.open(tmp_path / "todos.db") as space:
        for id_ in ("1", "11", "text", "1text"):
            space.append(TodoAdded(id=id_, text="1 11 text"))
        space.append(TodoRemoved(id="11"))

        assert [len(space.why("todo", id_)) for id_ in ("1", "11", "text", "1text", "1 11 text")] == [1, 2, 1, 1, 0]


def test_a_row_of_a_query_gives_the_key() -> None:
    with family_app().open(":memory:") as space:
        ran(space, "INSERT INTO person VALUES ('a', 'Ann')", "INSERT INTO pet VALUES ('a', 1)")
        [row] = space.query("SELECT n, owner FROM pet")
        assert len(space.why("pet", row)) == 1


def test_what_is_asked_for_wrongly_is_refused_in_words() -> None:
    with APP.open(":memory:") as space:
        with pytest.raises(InvalidKey, match="'todos' is not one of the app's tables; give one of todo"):
            space.why("todos", "a")
        with pytest.raises(InvalidKey, match=r"1 \(int\) cannot stand in todo.id, which is TEXT; give str"):
            space.why("todo", 1)
    with pytest.raises(Closed):
        space.why("todo", "a")


def test_tables_that_another_version_of_the_app_made_tell_nothing_here(tmp_path: Path) -> None:
    path = tmp_path / "counts.db"
    with times(1).open(path) as old:
        old.append(Counted(id="a", n=1))
        with times(100).open(path) as new:
            assert len(new.why("count", "a")) == 1

        with pytest.raises(AppChanged, match="another version of the app"):
            old.why("count", "a")
