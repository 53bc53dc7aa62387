"""Stating and comparing digests while syncing: when, and how often (P30)."""

from contextlib import AbstractContextManager
from pathlib import Path
from threading import Thread

import apsw
import pytest

from driftlog._store import view
from driftlog.space import comparing
from driftlog.space.comparing import COMPARE_EVERY_MS, QUIET_MS, REBUILD_EVERY_MS, STATE_EVERY_MS
from driftlog.space.replica import SpaceReplica
from tests.space.stating import APP, Fleet, compared, found, statements
from tests.todo_app import Clock, TodoAdded


class Looking:
    """What looks around while a device syncs."""

    def __init__(self, spaces: Fleet) -> None:
        self._spaces = spaces
        self._replicas = [SpaceReplica(space._engine, lambda _, __: None) for space in spaces]

    def for_a_while(self, ms: int, step_ms: int = 20_000) -> None:
        for _ in range(ms // step_ms):
            self._spaces.clock.now_ms += step_ms
            for replica in self._replicas:
                replica.look_around()
            self._spaces.share()


def test_idle_devices_state_their_digests_once_find_each_other_equal_and_come_to_rest(
    three: Fleet, rebuilds: list[bytes]
) -> None:
    looking = Looking(three)
    looking.for_a_while(QUIET_MS * 4)
    # Each has stated once, though what was said since then has changed nothing for it to state.
    assert sorted(statements(three[0])) == sorted(space.device for space in three)
    looking.for_a_while(COMPARE_EVERY_MS * 2)

    vectors = [space.version_vector() for space in three]
    looking.for_a_while(STATE_EVERY_MS * 30, STATE_EVERY_MS // 3)

    assert [space.version_vector() for space in three] == vectors
    for space in three:
        others = {other.device for other in three} - {space.device}
        assert compared(space) == dict.fromkeys(others, "equal")
        assert space.status().differing == ()
    assert rebuilds == []


def test_a_view_that_differs_is_found_and_mended_without_anybody_asking(two: Fleet, rebuilds: list[bytes]) -> None:
    ann, bob = two
    two.corrupt(1)
    looking = Looking(two)

    looking.for_a_while(COMPARE_EVERY_MS * 2)
    looking.for_a_while(STATE_EVERY_MS * 2)

    assert ann.digest() == bob.digest()
    assert compared(ann) == {bob.device: "equal"}
    assert rebuilds.count(bob.device) == 1
    vectors = ann.version_vector()
    looking.for_a_while(STATE_EVERY_MS * 3)
    assert ann.version_vector() == bob.version_vector() == vectors


def test_a_busy_hour_has_one_statement_of_each_device(two: Fleet) -> None:
    looking = Looking(two)
    looking.for_a_while(QUIET_MS * 2)
    before = len(statements(two[0]))
    for number in range(10):
        two.says(number % 2, f"{number}")
        looking.for_a_while(QUIET_MS * 5)
    assert before == 2
    assert len(statements(two[0])) == before

    looking.for_a_while(QUIET_MS * 15)
    assert len(statements(two[0])) == before * 2


def test_nothing_is_stated_before_a_minute_of_quiet(two: Fleet) -> None:
    looking = Looking(two)
    looking.for_a_while(QUIET_MS - 20_000, 20_000)
    two.says(0, "1")
    looking.for_a_while(QUIET_MS - 20_000, 20_000)

    assert statements(two[0]) == []


def test_a_device_alone_states_nothing_by_itself(tmp_path: Path) -> None:
    clock = Clock()
    with APP.open(tmp_path / "a.db", clock=clock) as space:
        space.append(TodoAdded("1", "milk"))
        space.seal()
        replica = SpaceReplica(space._engine, lambda _, __: None)
        for _ in range(10):
            clock.now_ms += QUIET_MS
            replica.look_around()

        assert statements(space) == []


def test_what_is_in_no_envelope_yet_is_not_stated_until_it_is(two: Fleet) -> None:
    ann = two[0]
    replica = SpaceReplica(ann._engine, lambda _, __: None)
    ann.append(TodoAdded("1", "milk"))
    for _ in range(5):
        replica.look_around()
        two.clock.now_ms += QUIET_MS
    assert statements(ann) == []

    ann.seal()
    replica.look_around()

    assert statements(ann) == [ann.device]


def test_the_view_is_read_for_others_every_ten_minutes_at_most(two: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = two
    replica = SpaceReplica(ann._engine, lambda _, __: None)
    replica.look_around()
    reads = 0
    digest = view.view_digest

    def counted(*given: object) -> bytes:
        nonlocal reads
        reads += 1
        return digest(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(comparing, "view_digest", counted)
    truth = bob.digest()
    for number in range(60):
        two.says(1, f"{number}")
        two.lie(1, truth if number == 59 else bytes([number]) * 32)
        replica.look_around()
        two.clock.now_ms += COMPARE_EVERY_MS // 20

    # Three comparisons in half an hour, the first of which rebuilt, and read before and after.
    assert reads == 3 + 2


def test_a_suspicion_is_looked_into_when_its_day_is_over_and_read_nothing_meanwhile(
    two: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = two
    replica = SpaceReplica(ann._engine, lambda _, __: None)
    two.lie(1)
    replica.look_around()
    two.says(1, "1")
    two.corrupt(0)
    bob.state_digest()
    two.share()
    two.clock.now_ms += COMPARE_EVERY_MS
    replica.look_around()
    assert compared(ann) == {bob.device: "suspected"}
    for _ in range(3):
        two.clock.now_ms += QUIET_MS
        replica.look_around()
    assert statements(ann).count(ann.device) == 1, "what it is accused of being wrong about"
    with monkeypatch.context() as patch:
        patch.setattr(comparing, "view_digest", lambda *_: pytest.fail("read"))
        two.clock.now_ms += REBUILD_EVERY_MS // 2
        replica.look_around()
    two.clock.now_ms += REBUILD_EVERY_MS // 2

    replica.look_around()

    assert compared(ann) == {bob.device: "mended"}
    two.clock.now_ms += QUIET_MS
    replica.look_around()
    assert statements(ann).count(ann.device) == 2, "and what it says of it now"
    two.share()
    assert found(bob.compare_digests()) == [(ann.device, "equal")]


def test_a_suspicion_is_looked_into_though_nothing_else_happens(two: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = two
    replica = SpaceReplica(ann._engine, lambda _, __: None)
    replica._acknowledger.look = lambda: None  # type: ignore[method-assign]
    two.lie(1)
    replica.look_around()
    two.says(1, "1")
    two.corrupt(0)
    bob.state_digest()
    two.share()
    ann._engine.comparing._is_at_rest = True
    two.clock.now_ms += COMPARE_EVERY_MS
    replica.look_around()
    two.clock.now_ms += COMPARE_EVERY_MS
    ann._engine.comparing._is_at_rest = True
    replica.look_around()
    ann._engine.comparing._is_at_rest = True
    assert compared(ann) == {bob.device: "suspected"}
    with monkeypatch.context() as patch:
        patch.setattr(ann._engine.reader, "apart", lambda: pytest.fail("read"))
        two.clock.now_ms += COMPARE_EVERY_MS - 1
        replica.look_around()
    two.clock.now_ms += REBUILD_EVERY_MS

    replica.look_around()

    assert compared(ann) == {bob.device: "mended"}


def test_a_device_at_rest_reads_nothing(two: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Looking(two)
    looking.for_a_while(COMPARE_EVERY_MS * 2)
    with monkeypatch.context() as patch:
        for space in two:
            patch.setattr(space._engine.reader, "apart", lambda: pytest.fail("read"))
        looking.for_a_while(STATE_EVERY_MS * 2)


def test_what_has_been_compared_costs_nothing_when_something_neutral_is_said(
    two: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = two
    bob.state_digest()
    two.share()
    replica = SpaceReplica(ann._engine, lambda _, __: None)
    replica.look_around()
    assert compared(ann) == {bob.device: "equal"}
    two.clock.now_ms += COMPARE_EVERY_MS
    ann.acknowledge()
    monkeypatch.setattr(ann._engine.comparing._source, "digest", lambda _: pytest.fail("read"))

    replica.look_around()


def test_a_device_that_waits_for_its_hour_looks_once_a_minute(two: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = two[0]
    looking = Looking(two)
    ann.state_digest()
    two.says(1, "1")
    looking.for_a_while(QUIET_MS * 3)
    reads: list[None] = []
    apart = ann._engine.reader.apart

    def counted() -> AbstractContextManager[apsw.Connection]:
        reads.append(None)
        return apart()

    monkeypatch.setattr(ann._engine.reader, "apart", counted)
    looking.for_a_while(QUIET_MS * 10, 10_000)

    assert 5 <= len(reads) <= 12


def test_stating_wakes_what_sends_it_and_a_second_thread_does_not_wait_for_the_first(two: Fleet) -> None:
    ann = two[0]
    told: list[None] = []
    ann._engine.changed.add(lambda: told.append(None))
    replica = SpaceReplica(ann._engine, lambda _, __: None)
    replica.look_around()
    two.clock.now_ms += QUIET_MS
    with ann._engine.comparing._lock:
        other = Thread(target=replica._engine.comparing.look)
        other.start()
        other.join(10)
        assert not other.is_alive()
    assert told == []

    replica.look_around()

    assert told == [None]


def test_a_clock_that_is_set_back_keeps_nobody_from_stating(two: Fleet) -> None:
    ann, _ = two
    ann.state_digest()
    two.says(1, "1")
    two.clock.now_ms -= 365 * REBUILD_EVERY_MS
    replica = SpaceReplica(ann._engine, lambda _, __: None)
    replica.look_around()
    two.clock.now_ms -= 365 * REBUILD_EVERY_MS
    replica.look_around()
    two.clock.now_ms += QUIET_MS
    replica.look_around()

    assert len(statements(ann)) == 2
