"""Sync states are told when they become others, as live queries are: in order, once, and only to who still wants to know."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from driftlog import Phase, Space, errors
from driftlog._protocol.device_values import SyncState
from driftlog.testing import RelayThread
from tests.todo_app import TodoAdded, todo_app

ONE, OTHER = "ws://one", "ws://other"
OFFLINE, CONNECTING, SYNCED = (SyncState(phase) for phase in (Phase.OFFLINE, Phase.CONNECTING, Phase.SYNCED))
States = dict[str, SyncState]
SECONDS_MAX = 20
"""For a wait that takes milliseconds unless something is wrong."""


@pytest.fixture
def space() -> Iterator[Space]:
    with todo_app().open(":memory:") as space:
        yield space


def post(space: Space, url: str, state: SyncState) -> None:
    """Do what a sync's thread does with what its session says."""
    space._syncing._board.post(url, state)


def test_the_states_are_told_at_once_and_whenever_they_are_others(space: Space) -> None:
    told: list[States] = []
    post(space, ONE, OFFLINE)

    space.subscribe_sync(told.append)
    post(space, ONE, OFFLINE)
    post(space, OTHER, CONNECTING)
    post(space, ONE, SYNCED)
    post(space, ONE, SYNCED)

    assert told == [{ONE: OFFLINE}, {ONE: OFFLINE, OTHER: CONNECTING}, {ONE: SYNCED, OTHER: CONNECTING}]


def test_what_a_callback_does_with_its_states_is_its_own(space: Space) -> None:
    told: list[int] = []

    def empty(states: States) -> None:
        told.append(len(states))
        states.clear()

    space.subscribe_sync(empty)
    post(space, ONE, OFFLINE)
    post(space, ONE, OFFLINE)

    assert told == [0, 1]


def test_what_an_earlier_conversation_left_goes_with_the_next(space: Space) -> None:
    told: list[States] = []
    post(space, ONE, OFFLINE)
    space.subscribe_sync(told.append)

    space._syncing._board.forget([ONE])

    assert told == [{ONE: OFFLINE}, {}]


def test_call_soon_is_asked_once_and_the_newest_is_told(space: Space) -> None:
    told: list[States] = []
    asked: list[Callable[[], None]] = []
    space.subscribe_sync(told.append, call_soon=asked.append)

    post(space, ONE, CONNECTING)
    post(space, ONE, SYNCED)
    assert (told, len(asked)) == ([], 1)
    asked.pop()()
    post(space, ONE, OFFLINE)
    asked.pop()()

    assert told == [{ONE: SYNCED}, {ONE: OFFLINE}]


def test_a_call_soon_that_fails_is_logged_and_asked_again(space: Space, caplog: pytest.LogCaptureFixture) -> None:
    told: list[States] = []
    is_broken = True

    def call_soon(function: Callable[[], None]) -> None:
        if is_broken:
            raise RuntimeError("no loop")
        function()

    space.subscribe_sync(told.append, call_soon=call_soon)
    is_broken = False
    post(space, ONE, OFFLINE)

    assert told == [{ONE: OFFLINE}]
    assert "no loop" in caplog.text


def test_what_changes_during_a_call_is_told_after_it_by_the_same_thread(space: Space) -> None:
    told: list[States] = []
    is_within, may_go_on = Event(), Event()

    def slow(states: States) -> None:
        told.append(states)
        if states == {ONE: CONNECTING}:
            is_within.set()
            assert may_go_on.wait(SECONDS_MAX)

    space.subscribe_sync(slow)
    thread = Thread(target=post, args=(space, ONE, CONNECTING))
    thread.start()
    assert is_within.wait(SECONDS_MAX)
    post(space, ONE, SYNCED)
    assert told == [{}, {ONE: CONNECTING}]
    may_go_on.set()
    thread.join()

    assert told == [{}, {ONE: CONNECTING}, {ONE: SYNCED}]


def test_no_call_begins_after_the_end_of_it_or_of_the_space(space: Space) -> None:
    told: list[States] = []
    asked: list[Callable[[], None]] = []
    end = space.subscribe_sync(told.append)
    space.subscribe_sync(told.append)
    end_late = space.subscribe_sync(told.append, call_soon=asked.append)
    told.clear()

    end()
    end()
    end_late()
    asked.pop()()
    post(space, ONE, OFFLINE)
    space.close()
    post(space, ONE, SYNCED)

    assert told == [{ONE: OFFLINE}]
    with pytest.raises(errors.Closed):
        space.subscribe_sync(told.append)


def test_what_a_callback_raises_goes_to_its_hook_or_the_log_and_ends_nothing(
    space: Space, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[States] = []
    failed: list[str] = []

    def fail(states: States) -> None:
        raise ValueError(f"{len(states)} relays")

    def fail_again(error: Exception) -> None:
        raise TypeError("the hook")

    space.subscribe_sync(fail, on_error=lambda error: failed.append(str(error)))
    space.subscribe_sync(fail, on_error=fail_again)
    with caplog.at_level(logging.ERROR, "driftlog"):
        space.subscribe_sync(fail)
    space.subscribe_sync(told.append)
    post(space, ONE, OFFLINE)

    assert failed == ["0 relays", "1 relays"]
    assert told == [{}, {ONE: OFFLINE}]
    assert "ValueError: 1 relays" in caplog.text
    assert "raised on sync states; mend the callback" in caplog.text
    assert "TypeError: the hook" in caplog.text


def test_a_real_sync_is_told_and_pending_falls_with_it(tmp_path: Path) -> None:
    relay = RelayThread(tmp_path / "relay.db")
    relay.start()
    phases: list[Phase] = []
    pending: list[int] = []
    try:
        with todo_app().open(tmp_path / "a.db") as space:
            space.append(TodoAdded(id="1", text="milk"))
            space.subscribe("SELECT count(*) FROM driftlog_pending", lambda answer: pending.append(answer[0][0]))
            space.subscribe_sync(lambda states: phases.extend(state.phase for state in states.values()))
            sync = space.sync(relay.url)
            assert sync.wait(SECONDS_MAX)
            sync.stop()
    finally:
        relay.stop()

    assert pending == [1, 0]
    assert Phase.SYNCED in phases
    assert phases[-1] is Phase.STOPPED
