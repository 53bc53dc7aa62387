"""Devices state digests of their views: differences are found, reported and mended, and nobody else is bothered (P30)."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from driftlog import Agreement, App, Comparison, Event, ViewTransaction
from driftlog._core.batch import Batch
from driftlog._core.envelope import Envelope
from driftlog._core.limits import HOLD_MS
from driftlog._core.statement import Statement, encode_statement
from driftlog._store import stated
from driftlog.space.comparing import QUIET_MS, REBUILD_EVERY_MS
from driftlog.space.replica import SpaceReplica
from driftlog.testing import exchange, fleet
from tests.space.stating import APP, Fleet, compared, count_rebuilds, found, opened, statements
from tests.space.test_forks import copy_device
from tests.space.test_verdicts import take
from tests.todo_app import TABLES, Clock, TodoAdded

HOUR_MS = 3_600_000


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Fleet]:
    yield from opened(Fleet(tmp_path, 2))


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Fleet]:
    yield from opened(Fleet(tmp_path, 3))


@pytest.fixture
def rebuilds(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The devices that have rebuilt their views, as often as they did."""
    return count_rebuilds(monkeypatch)


# --- exchange without a relay ----------------------------------------------------------------------------------------


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


def test_events_that_are_held_here_and_not_there_are_other_events(two: Fleet) -> None:
    ann, bob = two
    clock = Clock(two.clock.now_ms + HOLD_MS * 2)
    link = ann.invite()
    with APP.join(":memory:", link, clock=clock) as ahead:
        ahead.append(TodoAdded("future", "milk"))
        exchange(ahead, ann)
        two.share()
        assert ann.status().held == 1
        now = two.clock.now_ms
        two.clock.now_ms += HOLD_MS * 2
        ann.append(TodoAdded("present", "milk"))
        ann.state_digest()
        two.clock.now_ms = now
        two.share()
        assert bob.status().held > 0
        assert bob.compare_digests() == ()

    two.clock.now_ms += HOLD_MS * 2
    bob.append(TodoAdded("now", "milk"))
    two.share()
    ann.state_digest()
    two.share()
    assert found(bob.compare_digests()) == [(ann.device, "equal")]


def test_what_is_held_by_both_keeps_nobody_from_comparing(two: Fleet) -> None:
    ann, bob = two
    with APP.join(":memory:", ann.invite(), clock=Clock(two.clock.now_ms + HOLD_MS * 2)) as ahead:
        ahead.append(TodoAdded("future", "milk"))
        exchange(ahead, ann)
    two.share()
    ann.state_digest()
    two.share()
    assert bob.status().held == 1

    assert found(bob.compare_digests()) == [(ann.device, "equal")]


def test_neutral_events_that_are_held_here_and_not_there_make_no_difference(two: Fleet) -> None:
    ann, bob = two
    with APP.join(":memory:", ann.invite(), clock=Clock(two.clock.now_ms + HOLD_MS * 2)) as ahead:
        exchange(ahead, ann)
        ahead.acknowledge()
        exchange(ahead, ann)
    two.share()
    now = two.clock.now_ms
    two.clock.now_ms += HOLD_MS * 2
    ann.state_digest()
    assert ann.status().held == 0
    two.clock.now_ms = now
    two.share()
    assert bob.status().held > 0

    assert found(bob.compare_digests()) == [(ann.device, "equal")]


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


# --- who states what is not so ---------------------------------------------------------------------------------------


def test_a_member_that_lies_is_named_and_costs_one_rebuild_a_day(two: Fleet, rebuilds: list[bytes]) -> None:
    ann, liar = two
    start = two.clock.now_ms
    for number in range(3 * 24):
        two.says(1, f"relevant {number}")
        for again in range(3):
            two.lie(1, bytes([again]) * 32)
            ann.compare_digests()
            assert [one.device for one in ann.status().differing] == [liar.device]
        two.clock.now_ms += HOUR_MS
    days = (two.clock.now_ms - start) // REBUILD_EVERY_MS

    assert days == 3
    assert rebuilds == [ann.device] * days
    assert ann.status().devices


def test_what_was_rebuilt_of_these_very_events_is_not_rebuilt_on_another_word(
    three: Fleet, rebuilds: list[bytes]
) -> None:
    ann, bob, cleo = three
    three.lie(1)
    assert found(ann.compare_digests()) == [(bob.device, "different")]
    three.lie(2)

    assert found(ann.compare_digests()) == [(cleo.device, "different")]
    assert rebuilds == [ann.device]


def test_an_honest_device_is_found_equal_while_another_lies(three: Fleet, rebuilds: list[bytes]) -> None:
    ann, bob, cleo = three
    cleo.state_digest()
    three.share()
    three.lie(1)

    ann.compare_digests()

    assert compared(ann) == {bob.device: "different", cleo.device: "equal"}
    assert rebuilds == [ann.device]


def test_wrong_tables_are_mended_a_day_later_if_somebody_has_lied_before(two: Fleet, rebuilds: list[bytes]) -> None:
    ann, bob = two
    two.lie(1)
    ann.compare_digests()
    two.says(1, "1")
    two.corrupt(0)
    bob.state_digest()
    two.share()

    assert found(ann.compare_digests()) == [(bob.device, "suspected")]
    assert [one.agreement.value for one in ann.status().differing] == ["suspected"]
    assert ann.compare_digests() == (), "no news"
    assert rebuilds == [ann.device]

    two.clock.now_ms += REBUILD_EVERY_MS
    assert found(ann.compare_digests()) == [(bob.device, "mended")]
    assert ann.digest() == bob.digest()
    assert rebuilds == [ann.device] * 2


def test_wrong_tables_that_somebody_rebuilds_meanwhile_are_found_equal(two: Fleet, rebuilds: list[bytes]) -> None:
    ann, bob = two
    two.lie(1)
    ann.compare_digests()
    two.says(1, "1")
    two.corrupt(0)
    bob.state_digest()
    two.share()
    ann.compare_digests()

    ann.rebuild()

    assert found(ann.compare_digests()) == [(bob.device, "equal")]


def test_no_more_statements_are_read_than_an_honest_fleet_makes(two: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stated, "STATEMENTS_MAX", 2)
    ann, bob = two
    ann.state_digest()
    for _ in range(2):
        two.lie(0)

    assert found(bob.compare_digests()) == [(ann.device, "different")]
    with bob._engine.reader.connection() as connection:
        sql, parameters = stated._STATEMENTS, (0, stated.STATEMENTS_MAX)
        assert len(list(stated._read(connection, sql, parameters))) == 2


def test_each_envelope_is_opened_once_however_long_a_device_has_said_nothing_but_that_it_is_here(two: Fleet) -> None:
    ann, bob = two
    source = bob._engine.comparing._source
    open_envelope, opened = source._open_envelope, []

    def counted(raw: bytes) -> tuple[Envelope, Batch]:
        opened.append(raw)
        return open_envelope(raw)

    source._open_envelope = counted
    for number in range(5):
        two.says(0, str(number))
        bob.acknowledge()
        two.share()
        ann.state_digest()
        two.share()
        assert found(bob.compare_digests()) == [(ann.device, "equal")]

    assert len(opened) == len(set(opened)) > 10
