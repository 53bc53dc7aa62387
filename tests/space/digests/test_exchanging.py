"""Devices state digests of their views: differences are found, reported and mended, and nobody else is bothered (P30)."""

from pathlib import Path

import apsw
import pytest

from driftlog import Agreement, App, Comparison, Event, ViewTransaction
from driftlog._core.statement import Statement, encode_statement
from driftlog._store import stated
from driftlog.space.comparing import QUIET_MS
from driftlog.space.replica import SpaceReplica
from driftlog.testing import exchange, fleet
from tests.space.stating import APP, Fleet, compared, found, statements
from tests.space.test_forks import copy_device
from tests.space.test_verdicts import take
from tests.todo_app import TABLES, TodoAdded


def test_devices_that_agree_find_so_and_say_with_whom_and_when(two: Fleet, rebuilds: list[bytes]) -> None:
    ann, bob = two
    at = ann.state_digest()
    two.share()
    two.clock.now_ms += 5

    assert found(bob.compare_digests()) == [(ann.device, "equal")]

    [one] = [device.compared for device in bob.status().devices if device.compared is not None]
    assert one == Comparison(ann.device, Agreement.EQUAL, at, two.clock.now_ms, two.clock.now_ms)  # type: ignore[arg-type]
    assert bob.status().differing == ()
    assert compared(ann) == {}
    assert bob.compare_digests() == (), "once for each statement"
    assert rebuilds == []


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE todo SET text = 'edited' WHERE id = 'hello 0'",
        "DELETE FROM todo",
        "INSERT INTO todo VALUES ('more', '', 0)",
        "DROP TABLE todo",
        "ALTER TABLE todo DROP COLUMN done",
    ],
)
def test_a_view_that_was_edited_behind_the_engines_back_is_found_reported_and_rebuilt(
    two: Fleet, rebuilds: list[bytes], caplog: pytest.LogCaptureFixture, sql: str
) -> None:
    ann, bob = two
    told: list[Comparison] = []
    bob.on_divergence(told.append)
    two.corrupt(1, sql)
    ann.state_digest()
    two.share()

    found_here = bob.compare_digests()

    assert found(found_here) == [(ann.device, "mended")]
    assert tuple(told) == found_here
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "were wrong, and have been rebuilt" in caplog.records[1].getMessage()
    assert rebuilds == [bob.device]
    assert bob.digest() == ann.digest()
    assert compared(bob) == {ann.device: "mended"}
    assert bob.status().differing == ()

    bob.state_digest()
    two.share()
    assert found(ann.compare_digests()) == [(bob.device, "equal")]
    assert bob.compare_digests() == ()
    assert rebuilds == [bob.device]


def test_who_stated_what_was_wrong_is_named_until_it_states_the_truth(two: Fleet, rebuilds: list[bytes]) -> None:
    ann, bob = two
    two.corrupt(1)
    bob.state_digest()
    two.share()

    assert found(ann.compare_digests()) == [(bob.device, "different")]
    assert [(one.device, one.equal_ms) for one in ann.status().differing] == [(bob.device, None)]
    assert rebuilds == [ann.device]

    ann.state_digest()
    two.share()
    assert found(bob.compare_digests()) == [(ann.device, "mended")]
    bob.state_digest()
    two.share()
    assert found(ann.compare_digests()) == [(bob.device, "equal")]
    assert ann.status().differing == ()
    assert rebuilds == [ann.device, bob.device]


def test_when_two_were_last_equal_is_still_said_when_they_differ(two: Fleet) -> None:
    ann, bob = two
    bob.state_digest()
    two.share()
    equal_ms = two.clock.now_ms
    ann.compare_digests()
    two.clock.now_ms += 10
    two.lie(1)
    ann.compare_digests()

    [one] = ann.status().differing
    assert (one.equal_ms, one.found_ms) == (equal_ms, equal_ms + 10)


def test_a_materializer_that_is_not_deterministic_differs_still_after_the_rebuild(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Rolled(Event):
        id: int

    names = iter(range(100))
    app = App("org.example.dice", tables="CREATE TABLE roll (id INTEGER PRIMARY KEY, name INTEGER NOT NULL) STRICT")

    @app.on(Rolled)
    def rolled(tx: ViewTransaction, event: Rolled) -> None:
        tx.execute("INSERT INTO roll VALUES (?, ?)", (event.id, next(names)))

    ann, bob = fleet(app, 2)
    ann.append(Rolled(id=1))
    exchange(ann, bob)
    ann.state_digest()
    exchange(ann, bob)

    assert found(bob.compare_digests()) == [(ann.device, "different")]
    assert "check_determinism" in caplog.text
    ann.close()
    bob.close()


def test_a_statement_changes_neither_the_view_nor_what_is_settled_and_asks_for_no_answer(two: Fleet) -> None:
    ann, bob = two
    ann.acknowledge()
    two.share()
    before, settled = ann.digest(), ann.settled
    undone = bob.undo(next(entry.timestamp for entry in bob.log()))
    assert undone is not None
    bob.redo(next(entry.timestamp for entry in bob.log()))
    two.share()
    ann.acknowledge()
    two.share()
    assert settled is not None

    ann.state_digest()
    two.share()

    for space in two:
        assert space.digest() == before
        assert space.acknowledge() is None
        assert space.status().rejected == space.status().unknown == 0
        assert space.rebuild() == space.status().events
        assert space.digest() == before
    assert [entry.state.value for entry in bob.log() if entry.name == "driftlog.digest"] == ["applied"]


def test_a_statement_is_an_answer(two: Fleet) -> None:
    ann, bob = two
    two.says(0, "1")

    bob.state_digest()

    assert bob.acknowledge() is None
    assert ann.settled is not None
    before = ann.settled
    two.share()
    assert ann.settled > before


def test_what_is_pending_is_sealed_and_stated(two: Fleet) -> None:
    ann, bob = two
    ann.append(TodoAdded("1", "milk"))
    assert ann.state_digest() is not None
    two.share()
    assert found(bob.compare_digests()) == [(ann.device, "equal")]


def test_what_is_pending_is_seen_behind_any_number_of_neutral_events(
    two: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = two[0]
    monkeypatch.setattr(stated, "ENVELOPE_EVENTS_MAX", 1)
    two.says(1, "1")
    ann.acknowledge()
    ann.append(TodoAdded("2", "milk"))
    with ann._engine.reading() as store:
        assert ann._engine.comparing._source.digest(store.connection) is None


def test_tables_that_cannot_be_read_are_not_stated(two: Fleet) -> None:
    two.corrupt(1, "DROP TABLE todo")

    assert two[1].state_digest() is None
    assert statements(two[1]) == []


def test_statements_are_not_read_to_know_what_is_undone(two: Fleet) -> None:
    two[0].state_digest()
    with two[0]._engine.reading() as store:
        assert store.log.controls() == []


def test_the_same_is_not_stated_twice_and_something_else_is(two: Fleet) -> None:
    ann, _ = two
    assert ann.state_digest() is not None
    assert ann.state_digest() is None
    two.share()
    assert ann.state_digest() is None
    two.says(1, "1")
    assert ann.state_digest() is not None


def test_neutral_events_of_anybody_do_not_keep_views_from_being_compared(three: Fleet) -> None:
    ann, bob, cleo = three
    three.says(0, "1")
    at = ann.state_digest()
    cleo.state_digest()
    three.share()
    bob.acknowledge()
    bob.seal()
    cleo.acknowledge()
    three.share()
    assert at is not None

    assert dict(found(bob.compare_digests())) == {ann.device: "equal", cleo.device: "equal"}


def test_who_holds_more_or_less_than_a_statement_is_about_compares_nothing(two: Fleet) -> None:
    ann, bob = two
    two.corrupt(1)
    ann.append(TodoAdded("1", "milk"))
    ann.seal()
    first = list(ann.envelopes_for(bob.version_vector()))
    ann.state_digest()
    ann.seal()
    [*_, second] = ann.envelopes_for(bob.version_vector())

    bob.append(TodoAdded("own", "pending"))
    bob.receive([*first, second])
    assert bob.compare_digests() == (), "it has something of its own, in no envelope yet"
    bob.seal()
    assert bob.compare_digests() == (), "nor in one"
    assert compared(bob) == {}


def test_what_arrives_after_the_statement_about_it_is_compared_then(three: Fleet) -> None:
    ann, bob, cleo = three
    cleo.append(TodoAdded("1", "milk"))
    take(ann, cleo)
    before = bob.version_vector()
    ann.state_digest()
    bob.receive([raw for raw in ann.envelopes_for(before) if raw not in list(cleo.envelopes_for(before))])
    assert statements(bob) == [ann.device]
    assert bob.compare_digests() == ()

    take(bob, cleo)

    assert found(bob.compare_digests()) == [(ann.device, "equal")]


def test_a_statement_about_less_than_the_last_word_is_passed_over(two: Fleet, rebuilds: list[bytes]) -> None:
    ann, bob = two
    two.corrupt(1)
    ann.state_digest()
    two.share()
    two.says(0, "1")

    with bob._engine.reader.connection() as connection:
        assert stated.statements_at_end(connection) == {}, "it is not even looked at"
    assert bob.compare_digests() == ()
    assert rebuilds == []


def test_devices_of_different_versions_of_the_app_never_report(tmp_path: Path, rebuilds: list[bytes]) -> None:
    newer = App(APP.name, tables=TABLES)
    newer.on(TodoAdded)(lambda tx, event: tx.execute("INSERT INTO todo (id, text) VALUES (?, 'x')", (event.id,)))
    with APP.open(tmp_path / "a.db") as ann, newer.join(tmp_path / "b.db", ann.invite()) as bob:
        ann.append(TodoAdded("1", "milk"))
        exchange(ann, bob)
        assert ann.digest() != bob.digest()
        for space in (ann, bob):
            space.state_digest()
        exchange(ann, bob)

        assert ann.compare_digests() == bob.compare_digests() == ()
        assert rebuilds == []


def test_what_another_version_of_the_app_has_made_of_the_file_is_neither_stated_nor_compared(two: Fleet) -> None:
    ann, bob = two
    ann.state_digest()
    two.share()
    connection = apsw.Connection(str(two.paths[1]))
    connection.execute("UPDATE driftlog_meta SET value = x'00' WHERE key = 'view'")
    connection.close()

    assert bob.compare_digests() == ()
    assert bob.state_digest() is None
    looking = SpaceReplica(bob._engine, lambda _, __: None)
    looking._acknowledger.look = lambda: None  # type: ignore[method-assign]
    for _ in range(3):
        looking.look_around()
        two.clock.now_ms += QUIET_MS
    assert statements(ann) == [ann.device]


def test_branches_of_a_forked_device_are_all_part_of_what_is_compared(tmp_path: Path) -> None:
    with APP.open(tmp_path / "a.db") as a:
        a.append(TodoAdded("before", "x"))
        a.seal()
        link = a.invite()
    copy_device(tmp_path / "a.db", tmp_path / "copy.db")
    with (
        APP.open(tmp_path / "a.db") as a,
        APP.open(tmp_path / "copy.db") as copy,
        APP.join(":memory:", link) as c,
        APP.join(":memory:", link) as d,
    ):
        a.append(TodoAdded("a", "x"))
        copy.append(TodoAdded("copy", "x"))
        exchange(a, c)
        c.state_digest()
        exchange(a, d)
        exchange(copy, d)
        exchange(c, d)
        exchange(d, c)
        assert d.compare_digests() == (), "what c stated was of one branch"

        c.state_digest()
        exchange(c, d)
        assert found(d.compare_digests()) == [(c.device, "equal")]


@pytest.mark.parametrize("payload", [b"\x80", encode_statement(Statement(b"p" * 16, b"e" * 32, b"v" * 32))])
def test_a_statement_that_cannot_be_read_or_matches_nothing_is_passed_over(
    two: Fleet, payload: bytes, rebuilds: list[bytes]
) -> None:
    ann, bob = two
    with ann._engine.writing() as store:
        store._append_control("driftlog.digest", 1, payload)
    two.share()

    assert bob.compare_digests() == ()
    assert bob.state_digest() is not None
    assert ann.status().rejected == bob.status().rejected == (payload == b"\x80")
    assert rebuilds == []
