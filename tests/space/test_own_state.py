"""The engine's own state, watched by live queries: what is pending, rejected, held and unknown, and the devices."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from driftlog import App, Event, Space, ViewTransaction, errors
from driftlog._core.ids import Birthday
from driftlog._sqlite import rows
from driftlog._sqlite.rows import Parameters, Row
from driftlog.space import lines
from driftlog.space.replica import SpaceReplica
from driftlog.testing import exchange, fleet
from tests.todo_app import TABLES, Clock, TodoAdded, TodoCompleted, todo_app

NAMES = ("driftlog_pending", "driftlog_rejected", "driftlog_held", "driftlog_unknown", "driftlog_device")
# It reads the log past the view as well, without a FROM.
TABLE_BESIDE = f"driftlog_pending WHERE ({', '.join(['hlc'] * 11)}) IN driftlog_log"
EVENT = "hlc, device, hash, wall_ms, name, version"
DAY_MS = 86_400_000


class Starred(Event, critical=True):
    id: str


@pytest.fixture
def clocks() -> list[Clock]:
    return [Clock(), Clock()]


@pytest.fixture(params=["in memory", "in files"])
def two(request: pytest.FixtureRequest, tmp_path: Path, clocks: list[Clock]) -> Iterator[list[Space]]:
    paths = None if request.param == "in memory" else [tmp_path / "a.db", tmp_path / "b.db"]
    spaces = fleet(todo_app(), 2, paths=paths, clocks=clocks)
    yield spaces
    for space in spaces:
        space.close()


def counts(space: Space, table: str) -> list[int]:
    """Subscribe to how many rows there are, and give the list to which each answer goes."""
    told: list[int] = []
    space.subscribe(f"SELECT count(*) FROM {table}", lambda answer: told.append(answer[0][0]))
    return told


def confirm_all(space: Space, url: str = "ws://relay") -> None:
    """Do what a relay's word leads to: it holds all of this device's chain."""
    space._engine.seal()
    with space._engine.reading() as store:
        head = store.meta.own_branch().head
    SpaceReplica(space._engine, lambda *_: None).confirm(url, Birthday(bytes(16)), head, is_all=True)


def test_pending_goes_to_one_with_an_append_and_to_none_when_a_relay_confirms(two: list[Space]) -> None:
    told = counts(two[0], "driftlog_pending")

    two[0].append(TodoAdded(id="1", text="milk"))
    confirm_all(two[0])
    confirm_all(two[0], "ws://another")
    two[0].append(TodoAdded(id="2", text="beer"))

    assert told == [0, 1, 0, 1]
    assert two[0].status().pending == 1


def test_pending_are_the_events_that_status_counts_and_no_other_devices(two: list[Space]) -> None:
    a, b = two
    a.append(TodoAdded(id="1", text="milk"))
    confirm_all(a)
    [later] = a.append(TodoAdded(id="2", text="beer"))
    b.append(TodoAdded(id="3", text="bread"))
    exchange(a, b)

    pending = a.query("SELECT hlc, device, hash, name, version FROM driftlog_pending ORDER BY hlc")

    assert pending == [(*later, "TodoAdded", 1)]
    assert len(pending) == a.status().pending
    assert len(b.query("SELECT * FROM driftlog_pending")) == b.status().pending == 1


def test_what_a_relay_has_lost_is_pending_again(two: list[Space]) -> None:
    two[0].append(TodoAdded(id="1", text="milk"))
    confirm_all(two[0])
    told = counts(two[0], "driftlog_pending")

    SpaceReplica(two[0]._engine, lambda *_: None).confirm("ws://relay", Birthday(bytes(16)), None, is_all=True)

    assert told == [0, 1]


def test_a_rejected_event_is_told_once(two: list[Space]) -> None:
    a, b = two
    told = counts(b, "driftlog_rejected")

    a.append(TodoAdded(id="1", text="milk"))
    exchange(a, b)
    b.receive([])
    a.append(TodoAdded(id="2", text="beer"))
    b.append(TodoAdded(id="2", text="bread"))
    exchange(a, b)

    assert told == [0, 1]


def test_a_held_event_is_told_and_told_again_when_its_time_has_come(two: list[Space], clocks: list[Clock]) -> None:
    ahead, right = two
    told = counts(right, "driftlog_held")
    clocks[0].now_ms += 2 * DAY_MS

    [at] = ahead.append(TodoAdded(id="1", text="milk"))
    exchange(ahead, right)
    held = right.query(f"SELECT {EVENT} FROM driftlog_held")
    clocks[1].now_ms += 3 * DAY_MS
    right.append(TodoAdded(id="2", text="beer"))

    assert held == [(*at, clocks[0].now_ms, "TodoAdded", 1)]
    assert told == [0, 1, 0]


def test_an_event_of_an_unknown_type_is_told(tmp_path: Path) -> None:
    newer = todo_app()
    newer.on(Starred)(lambda *_: None)
    with newer.open(":memory:") as new, todo_app().join(tmp_path / "old.db", new.invite()) as old:
        told = counts(old, "driftlog_unknown")

        [at] = new.append(Starred(id="1"))
        exchange(new, old)

        assert told == [0, 1]
        assert old.query("SELECT hlc, device, hash, name, version FROM driftlog_unknown") == [(*at, "Starred", 1)]


def test_devices_are_those_of_status_each_with_its_last_stamp(two: list[Space]) -> None:
    a, b = two
    told: list[list[tuple[object, ...]]] = []
    b.subscribe(
        "SELECT device, envelopes FROM driftlog_device ORDER BY is_self",
        lambda answer: told.append([tuple(row) for row in answer]),
    )

    [at] = a.append(TodoAdded(id="1", text="milk"))
    exchange(a, b)

    assert told == [[(b.device, 0)], [(a.device, 1), (b.device, 0)]]
    found = b.query("SELECT device, is_self, envelopes, is_forked FROM driftlog_device ORDER BY device")
    assert found == [(one.device, one.is_self, one.envelopes, one.is_forked) for one in b.status().devices]
    assert b.query("SELECT last_hlc FROM driftlog_device ORDER BY is_self") == [(at.hlc,), (0,)]


def test_a_device_of_which_only_a_later_envelope_is_here_is_a_device(two: list[Space]) -> None:
    a, b = two
    a.append(TodoAdded(id="1", text="milk"))
    a._engine.seal()
    a.append(TodoAdded(id="2", text="beer"))
    a._engine.seal()
    told = counts(b, "driftlog_device")

    later = [*a.envelopes_for(b.version_vector())][1:]
    b.receive(later)

    assert told == [1, 2]
    assert {row.device for row in b.query("SELECT device FROM driftlog_device")} == {a.device, b.device}


def test_a_forked_device_is_shown_as_one(two: list[Space]) -> None:
    with two[0]._engine.writing() as store:
        for last in (b"\1", b"\2"):
            store.connection.execute("INSERT INTO driftlog_head VALUES (?, ?, 1, 5, 1)", (b"x" * 32, last * 32))

    assert two[0].query("SELECT envelopes, last_hlc FROM driftlog_device WHERE is_forked") == [(1, 5)]


def test_a_callback_reads_what_it_was_told_of(two: list[Space]) -> None:
    seen: list[tuple[int, int]] = []

    def note(answer: object) -> None:
        seen.append((len(two[0].query("SELECT * FROM driftlog_pending")), len(two[0].query("SELECT * FROM todo"))))

    two[0].subscribe("SELECT count(*) FROM driftlog_pending", note)
    two[0].append(TodoAdded(id="1", text="milk"))

    assert seen == [(0, 0), (1, 1)]


def test_it_is_there_after_the_file_was_opened_anew(two: list[Space]) -> None:
    told = counts(two[0], "driftlog_pending")

    # Under the lock, as after an I/O error: the thread that looks for other processes' writes uses the same connection.
    with two[0]._engine._lock:
        two[0]._engine._reopen()
    two[0].append(TodoAdded(id="1", text="milk"))
    again = counts(two[0], "driftlog_pending WHERE name = 'TodoAdded'")

    assert (told, again) == ([0, 1], [1])
    assert len(two[0].query("SELECT * FROM driftlog_pending")) == 1


def test_the_file_holds_nothing_of_it(tmp_path: Path) -> None:
    with todo_app().open(tmp_path / "a.db") as space:
        there = {row.name for row in space.query("SELECT name FROM sqlite_schema WHERE type = 'view'")}
        assert there == {"driftlog_entry", "driftlog_rejected"}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The live queries that are run, in full each time."""
    ran: list[str] = []

    def fetch_all(connection: apsw.Connection, sql: str, parameters: Parameters) -> list[Row]:
        ran.append(sql)
        return rows.fetch_all(connection, sql, parameters)

    monkeypatch.setattr(lines, "fetch_all", fetch_all)
    monkeypatch.setattr(lines, "_follow", lambda *_: None)
    return ran


@pytest.mark.parametrize(
    ("table", "is_run"),
    [("driftlog_pending", False), ("driftlog_rejected", False), ("todo", True), (TABLE_BESIDE, True)],
)
def test_an_event_of_another_device_runs_only_what_may_see_it(
    two: list[Space], ran: list[str], table: str, *, is_run: bool
) -> None:
    a, b = two
    a.append(TodoAdded(id="1", text="milk"))
    counts(b, table)
    ran.clear()

    exchange(a, b)

    assert bool(ran) is is_run


@pytest.mark.parametrize(
    ("condition", "is_run"),
    [
        ("true", False),
        (f"({EVENT}) IN driftlog_pending", True),
        (f"({EVENT}) IN 'driftlog_pending'", True),
        (f'({EVENT}) IN "DRIFTLOG_PENDING"', True),
    ],
)
def test_a_view_that_is_named_in_a_condition_is_watched_too(
    two: list[Space], ran: list[str], condition: str, *, is_run: bool
) -> None:
    counts(two[0], f"driftlog_held WHERE {condition}")
    ran.clear()

    two[0].append(TodoAdded(id="1", text="milk"))

    assert bool(ran) is is_run


@pytest.mark.parametrize("name", NAMES)
def test_no_materializer_reads_it(name: str) -> None:
    app = App("org.example.todos", tables=TABLES)

    @app.on(TodoCompleted)
    def completed(tx: ViewTransaction, event: TodoCompleted) -> None:
        tx.execute("INSERT INTO todo (id, text) VALUES (?, ?)", (event.id, str(tx.one(f"SELECT count(*) FROM {name}"))))

    with app.open(":memory:") as space, pytest.raises(errors.DriftlogError, match=rf"{name}, and names in driftlog_"):
        space.append(TodoCompleted(id="1"))


@pytest.mark.parametrize("name", NAMES)
def test_no_table_of_an_app_takes_its_names(name: str) -> None:
    table = f"CREATE TABLE {name} (id TEXT PRIMARY KEY) STRICT"

    with pytest.raises(errors.DriftlogError, match="driftlog_"):
        App("org.example.todos", tables=table)
    with pytest.raises(errors.DriftlogError, match="names in driftlog_ are taken"):
        App("org.example.todos", tables=TABLES, local_tables=table)


def test_views_that_an_undone_transaction_was_the_first_to_ask_for_are_there_for_the_next(tmp_path: Path) -> None:
    def doubt(space: Space) -> None:
        with space.transaction() as tx:
            tx.append(TodoAdded(id="1", text="milk"))
            assert len(tx.query("SELECT * FROM Driftlog_Pending")) == 1
            raise ZeroDivisionError

    with todo_app().open(tmp_path / "a.db") as space:
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                doubt(space)
            assert space.query("SELECT * FROM driftlog_pending") == []
