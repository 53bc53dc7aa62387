"""The app changes under a file that is there: tables, handlers, event types, and another process that is older."""

from collections.abc import Callable
from pathlib import Path

import pytest

from driftlog import App, Event, Space, ViewTransaction
from driftlog.errors import AppChanged
from driftlog.testing import exchange
from tests.todo_app import Clock

DAY_MS = 24 * 60 * 60 * 1000


class Counted(Event):
    id: str
    n: int


def app_of(tables: str, handler: Callable[[ViewTransaction, Counted], None]) -> App:
    app = App("org.example.counts", tables=tables)
    app.on(Counted)(handler)
    return app


COUNTS = "CREATE TABLE count (id TEXT PRIMARY KEY, n INTEGER) STRICT"


def times(factor: int) -> App:
    return app_of(COUNTS, lambda tx, event: tx.execute("INSERT INTO count VALUES (?, ?)", (event.id, factor * event.n)))


def counts(space: Space) -> list[tuple[object, ...]]:
    return [tuple(row) for row in space.query("SELECT * FROM count ORDER BY id")]


def test_a_changed_materializer_rebuilds_the_view_when_the_file_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "counts.db"
    with times(1).open(path) as space:
        space.append(Counted(id="a", n=1), Counted(id="b", n=2))
    with times(100).open(path) as space:
        assert counts(space) == [("a", 100), ("b", 200)]
        assert space.digest() == _replayed_elsewhere(space, times(100))


def _replayed_elsewhere(space: Space, app: App) -> bytes:
    with app.join(":memory:", space.invite()) as other:
        exchange(space, other)
        return other.digest()


def test_an_unchanged_app_does_not_rebuild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "counts.db"
    with times(1).open(path) as space:
        space.append(Counted(id="a", n=1))

    def unexpected(*_: object) -> int:
        raise AssertionError("nothing changed")

    monkeypatch.setattr("driftlog._store.store.Store.rebuild", unexpected)
    with times(1).open(path) as space:
        assert counts(space) == [("a", 1)]


def test_an_older_process_stops_where_a_newer_one_has_rebuilt_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "counts.db"
    with times(1).open(path) as old:
        old.append(Counted(id="a", n=1))
        with times(100).open(path) as new:
            with pytest.raises(AppChanged, match="restart"):
                old.append(Counted(id="b", n=2))
            new.append(Counted(id="c", n=3))
            assert counts(new) == [("a", 100), ("c", 300)]


def test_a_materializer_may_name_what_is_defined_after_the_space_is_opened(tmp_path: Path) -> None:
    def counted(tx: ViewTransaction, event: Counted) -> None:
        tx.execute("INSERT INTO count VALUES (?, ?)", (event.id, later(event.n)))

    with app_of(COUNTS, counted).open(tmp_path / "counts.db") as space:

        def later(n: int) -> int:
            return n + 1

        space.append(Counted(id="a", n=1))
        assert counts(space) == [("a", 2)]


def with_another_table() -> App:
    def counted(tx: ViewTransaction, event: Counted) -> None:
        tx.execute("INSERT INTO another VALUES (?)", (event.id,))
        tx.execute("INSERT INTO count VALUES (?, ?)", (event.id, event.n))

    return app_of(f"CREATE TABLE another (id TEXT PRIMARY KEY) STRICT; {COUNTS}", counted)


def test_what_was_held_until_after_the_upgrade_is_applied_by_the_upgraded_app(tmp_path: Path) -> None:
    """Releasing it rewinds events whose undo data names tables that the upgraded app does not have."""
    path, clock, ahead = tmp_path / "counts.db", Clock(), Clock()
    with with_another_table().open(path, clock=clock) as space:
        clock.now_ms += 10 * DAY_MS
        space.append(Counted(id="own", n=2))
        clock.now_ms -= 10 * DAY_MS
        ahead.now_ms += DAY_MS + 1_000
        with with_another_table().join(":memory:", space.invite(), clock=ahead) as other:
            other.append(Counted(id="late", n=1))
            exchange(space, other)
        assert space.status().held == 1

    clock.now_ms += 3 * DAY_MS
    with times(1).open(path, clock=clock) as space:
        space.append(Counted(id="z", n=3))
        assert counts(space) == [("late", 1), ("own", 2), ("z", 3)]


def test_two_processes_that_found_one_file_share_one_space(tmp_path: Path) -> None:
    """The second comes while the first has decided to found, and has not yet."""
    path = tmp_path / "counts.db"
    second: list[Space] = []

    def entropy(count: int) -> bytes:
        if not second:
            second.append(times(1).open(path, entropy=lambda n: b"\2" * n))
        return b"\1" * count

    with times(1).open(path, entropy=entropy) as first:
        first.append(Counted(id="a", n=1))
        second[0].append(Counted(id="b", n=2))
        assert first.device == second[0].device
        assert counts(first) == counts(second[0]) == [("a", 1), ("b", 2)]
    second[0].close()
    with times(1).open(path) as again:
        assert len(counts(again)) == 2
