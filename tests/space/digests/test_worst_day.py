"""Comparing digests on the worst day: crashes, a second process, full disks, what is written meanwhile (P30)."""

import logging
from threading import Thread

import apsw
import pytest

from driftlog import Comparison
from driftlog._store.store import Store
from driftlog.errors import DiskFull, ReadOnly
from tests.space.stating import APP, Fleet, compared, found, statements
from tests.todo_app import TodoAdded


def test_what_was_received_before_a_crash_is_compared_after_it(two: Fleet) -> None:
    ann, bob = two
    two.corrupt(1)
    ann.state_digest()
    two.share()
    bob.close()

    with APP.open(two.paths[1], clock=two.clock) as again:
        assert found(again.compare_digests()) == [(ann.device, "mended")]
    with APP.open(two.paths[1], clock=two.clock) as again:
        assert again.compare_digests() == ()
        assert compared(again) == {ann.device: "mended"}


def test_a_rebuild_that_fails_leaves_the_finding_for_the_next_time(two: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = two
    two.corrupt(1)
    ann.state_digest()
    two.share()

    def fails(_: Store) -> int:
        raise apsw.FullError

    with monkeypatch.context() as patch:
        patch.setattr(Store, "rebuild", fails)
        with pytest.raises(DiskFull):
            bob.compare_digests()
    assert compared(bob) == {}

    assert found(bob.compare_digests()) == [(ann.device, "mended")]


def test_of_two_processes_that_compare_one_rebuilds(two: Fleet, rebuilds: list[bytes]) -> None:
    ann, bob = two
    two.corrupt(1)
    ann.state_digest()
    two.share()
    with APP.open(two.paths[1], clock=two.clock) as other:
        view = other._engine.comparing._view

        def then_the_other(connection: apsw.Connection) -> bytes:
            other._engine.comparing._view = view  # type: ignore[method-assign]
            before = view(connection)
            assert found(bob.compare_digests()) == [(ann.device, "mended")]
            return before

        other._engine.comparing._view = then_the_other  # type: ignore[method-assign]
        assert other.compare_digests() == ()
        assert rebuilds == [bob.device]
        assert compared(other) == {ann.device: "mended"}


def test_what_was_written_since_the_comparison_does_not_make_right_tables_wrong(
    two: Fleet, rebuilds: list[bytes]
) -> None:
    ann = two[0]
    two.lie(1)
    engine = ann._engine
    view = engine.comparing._view

    def then_append(connection: apsw.Connection) -> bytes:
        engine.comparing._view = view  # type: ignore[method-assign]
        before = view(connection)
        ann.append(TodoAdded("meanwhile", "milk"))
        return before

    engine.comparing._view = then_append  # type: ignore[method-assign]

    assert ann.compare_digests() == (), "what was stated is about other events by now"
    assert rebuilds == [ann.device]
    assert compared(ann) == {}


def test_tables_that_were_wrong_are_said_to_be_mended_whatever_was_written_since(two: Fleet) -> None:
    ann, bob = two
    two.corrupt(0)
    bob.state_digest()
    two.share()
    engine = ann._engine
    view = engine.comparing._view

    def then_append(connection: apsw.Connection) -> bytes:
        engine.comparing._view = view  # type: ignore[method-assign]
        before = view(connection)
        ann.append(TodoAdded("meanwhile", "milk"))
        return before

    engine.comparing._view = then_append  # type: ignore[method-assign]

    assert found(ann.compare_digests()) == [(bob.device, "mended")]
    two.share()
    assert ann.digest() == bob.digest()


def test_what_is_written_while_the_view_is_read_is_not_what_is_stated(two: Fleet) -> None:
    engine = two[0]._engine
    view = engine.comparing._view

    def then_append(connection: apsw.Connection) -> bytes:
        before = view(connection)
        two[0].append(TodoAdded("meanwhile", "milk"))
        return before

    engine.comparing._view = then_append  # type: ignore[method-assign]

    assert two[0].state_digest() is None
    assert statements(two[0]) == []


def test_facts_that_cannot_be_read_are_found_anew(two: Fleet) -> None:
    ann, bob = two
    ann.state_digest()
    two.share()
    bob.compare_digests()
    two.corrupt(1, "UPDATE driftlog_meta SET value = x'c1' WHERE key = 'comparisons'")
    assert compared(bob) == {}

    assert found(bob.compare_digests()) == [(ann.device, "equal")]


def test_a_callback_may_use_the_space_and_what_it_raises_is_logged(
    two: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    ann, bob = two
    told: list[bytes] = []

    def broken(_: Comparison) -> None:
        bob.compare_digests()
        bob.state_digest()
        raise LookupError

    bob.on_divergence(broken)
    bob.on_divergence(lambda one: told.append(one.device))
    bob.on_divergence(told.clear)()  # type: ignore[arg-type]
    two.corrupt(1)
    ann.state_digest()
    two.share()
    bob.compare_digests()

    assert told == [ann.device]
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1


def test_who_is_told_of_a_verdict_by_the_rebuild_may_compare(two: Fleet) -> None:
    ann, bob = two
    two.corrupt(1, "UPDATE driftlog_log SET state = 1, reason = 'x' WHERE state = 0")
    two.corrupt(1, "DELETE FROM todo")
    ann.state_digest()
    two.share()
    told: list[int] = []
    bob.on_verdict(lambda _: told.append(len(bob.compare_digests())))
    worker = Thread(target=bob.compare_digests, daemon=True)
    worker.start()
    worker.join(20)

    assert not worker.is_alive()
    assert set(told) == {0}


def test_a_space_that_is_read_only_compares_nothing_and_says_what_it_has_found(
    two: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = two
    ann.state_digest()
    two.share()
    bob.compare_digests()
    monkeypatch.setattr(bob._engine, "is_read_only", True)

    assert compared(bob) == {ann.device: "equal"}
    for call in (bob.compare_digests, bob.state_digest):
        with pytest.raises(ReadOnly):
            call()
