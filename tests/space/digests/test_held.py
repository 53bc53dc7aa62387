"""Held events, which one device may hold and another has placed, are part of what is compared (P30)."""

from driftlog._core.limits import HOLD_MS
from driftlog.testing import exchange
from tests.space.stating import APP, Fleet, found
from tests.todo_app import Clock, TodoAdded


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
