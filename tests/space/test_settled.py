"""Settled: what no event can come before any more, whoever is silent, ahead of time, forked or half received."""

from pathlib import Path
from random import Random

import pytest

from driftlog._core.limits import HOLD_MS
from tests.space.settling import NOTHING, met, milk, share, timestamps
from tests.space.test_forks import add, copy_device
from tests.space.test_rejected import APP, Fleet
from tests.space.test_verdicts import take
from tests.todo_app import TodoAdded


def test_a_device_alone_settles_everything_at_once() -> None:
    with APP.open(":memory:") as space:
        assert space.settled is None
        assert milk(space) == space.settled
        assert milk(space) == space.settled
        assert space.status().held_back_by is None


def test_an_event_is_settled_when_every_device_has_been_heard_from_past_it() -> None:
    spaces = met(3)
    ann, bob, cleo = spaces
    added = spaces.says(0, TodoAdded("1", "milk"))
    take(bob, ann)
    answer = spaces.says(1, TodoAdded("2", "bread"))
    take(ann, bob)
    assert ann.settled is not None
    assert ann.settled < added

    take(cleo, bob)
    spaces.says(2, TodoAdded("3", "eggs"))
    take(ann, cleo)
    # Bob has not been heard from since, but up to there he has.
    assert ann.settled == answer > added


def test_status_names_the_device_that_is_furthest_behind_and_since_when() -> None:
    spaces = met(3)
    ann, bob, cleo = spaces
    silent_since = max(entry.timestamp for entry in ann.log() if entry.timestamp.device == cleo.device)
    spaces.says(1, TodoAdded("1", "milk"))
    take(ann, bob)
    own = spaces.says(0, TodoAdded("2", "bread"))

    status = ann.status()

    assert status.held_back_by == cleo.device
    assert status.settled == ann.settled == silent_since
    heard = {bytes(device.device): device.heard_hlc for device in status.devices}
    assert heard[cleo.device] == silent_since.hlc
    assert heard[cleo.device] < heard[bob.device] < heard[ann.device] == own.hlc


def test_a_device_ahead_of_time_does_not_settle_what_this_one_has_yet_to_say() -> None:
    spaces = met(2)
    ann, bob = spaces
    spaces.clocks[1].now_ms += HOLD_MS * 3
    held = spaces.says(1, TodoAdded("future", "milk"))
    take(ann, bob)

    settled = ann.settled
    assert settled is not None
    own = milk(ann)
    assert settled < own < held
    assert ann.settled == own


def test_a_held_event_holds_back_what_is_after_it_even_where_this_devices_clock_was_wrong_too() -> None:
    spaces = met(2)
    ann, bob = spaces
    now_ms = spaces.clocks[0].now_ms
    spaces.clocks[0].now_ms += HOLD_MS * 4
    ahead = milk(ann)
    spaces.clocks[0].now_ms = now_ms
    spaces.clocks[1].now_ms += HOLD_MS * 3
    held = spaces.says(1, TodoAdded("future", "milk"))
    spaces.clocks[1].now_ms += HOLD_MS * 3
    assert milk(bob) > ahead
    take(ann, bob)

    settled = ann.settled
    assert settled is not None
    assert settled < held < ahead
    assert ann.status().held_back_by == bob.device


def test_a_device_of_which_only_a_later_envelope_is_here_settles_nothing() -> None:
    spaces = Fleet(APP, 2)
    ann, bob = spaces
    spaces.says(0, TodoAdded("1", "milk"))
    for _ in range(2):
        milk(bob)
        bob.seal()
    first, second = bob.envelopes_for(NOTHING)

    ann.receive([second])
    assert ann.settled is None
    assert ann.status().held_back_by == bob.device
    assert [device.heard_hlc for device in ann.status().devices if not device.is_self] == [0]

    ann.receive([first])
    assert ann.settled is not None


def test_what_waits_behind_a_gap_does_not_count_yet_and_takes_nothing_away() -> None:
    spaces = met(2)
    ann, bob = spaces
    before = ann.settled
    for _ in range(2):
        milk(bob)
        bob.seal()
    _, second = bob.envelopes_for(ann.version_vector())
    milk(ann)

    ann.receive([second])

    assert ann.settled == before


def test_every_branch_of_a_forked_device_counts_for_the_others_and_for_itself(tmp_path: Path) -> None:
    with APP.open(tmp_path / "a.db") as a:
        add(a, "before")
        link = a.invite()
    copy_device(tmp_path / "a.db", tmp_path / "copy.db")
    with APP.open(tmp_path / "a.db") as a, APP.open(tmp_path / "copy.db") as copy, APP.join(":memory:", link) as c:
        add(copy, "copied")
        [end] = [entry.timestamp for entry in copy.log() if entry.event == TodoAdded("copied", "x")]
        add(a, "after")
        take(c, copy)
        take(c, a)
        add(c, "last")
        take(a, c)

        for space in (a, c):
            assert space.settled == end
            assert space.status().held_back_by == a.device
        add(copy, "on")
        take(c, copy)
        assert c.settled is not None
        assert c.settled > end


def test_an_envelope_of_a_branch_of_which_nothing_is_held_settles_nothing(tmp_path: Path) -> None:
    with APP.open(tmp_path / "a.db") as a:
        add(a, "before")
        link = a.invite()
    copy_device(tmp_path / "a.db", tmp_path / "copy.db")
    with APP.open(tmp_path / "a.db") as a, APP.open(tmp_path / "copy.db") as copy, APP.join(":memory:", link) as c:
        add(copy, "copied")
        add(copy, "on")
        add(a, "after")
        take(c, a)
        assert c.settled is not None
        _, parting, waiting = copy.envelopes_for(NOTHING)

        c.receive([waiting])
        a.receive([waiting])
        assert c.settled is None
        assert a.settled is None

        c.receive([parting])
        assert c.settled is not None


def test_a_restored_device_waits_for_what_it_has_forgotten_of_itself(tmp_path: Path) -> None:
    with APP.open(tmp_path / "a.db") as a:
        add(a, "before")
        before, link = a.settled, a.invite()
    copy_device(tmp_path / "a.db", tmp_path / "restored.db")
    with APP.open(tmp_path / "a.db") as a, APP.join(":memory:", link) as c:
        add(a, "forgotten")
        add(a, "known again")
        take(c, a)
        [*_, last] = c.envelopes_for(NOTHING)
    with APP.open(tmp_path / "restored.db") as restored:
        assert restored.settled == before
        restored.receive([last])
        assert milk(restored) != restored.settled
        assert restored.settled == before
        assert restored.status().held_back_by == restored.device


@pytest.mark.parametrize("seed", range(30))
def test_nothing_from_a_known_device_comes_before_what_was_settled_and_in_the_end_all_is(seed: int) -> None:
    random = Random(seed)
    spaces = met(random.randint(2, 4), random.randbytes)
    for clock in spaces.clocks:
        clock.now_ms += random.choice((0, 0, -5_000_000, HOLD_MS * 2, 3_000))

    for _ in range(40):
        device, other = random.sample(spaces, 2)
        for clock in spaces.clocks:
            clock.now_ms += random.randint(0, 2_000)
        if random.random() < 0.4:
            milk(device)
            device.seal()
        else:
            device.acknowledge()
            envelopes = list(device.envelopes_for(NOTHING))
            before, settled = timestamps(other), other.settled
            other.receive(random.sample(envelopes, random.randint(0, len(envelopes))))
            assert all(settled is None or at > settled for at in timestamps(other) - before)

    for clock in spaces.clocks:
        clock.now_ms += HOLD_MS * 3
    share(spaces)
    said = timestamps(spaces[0])
    for space in spaces:
        milk(space)
    share(spaces)
    for space in spaces:
        assert space.settled is not None
        assert space.settled > max(said)
