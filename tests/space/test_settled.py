"""Settled: what no event can come before any more, whoever is silent, ahead of time, forked or half received."""

import asyncio
from collections.abc import Callable
from itertools import count
from os import urandom
from pathlib import Path
from random import Random

import pytest

from driftlog import Space, Timestamp
from driftlog._core.clock import Hlc
from driftlog._core.ids import DeviceKey
from driftlog._core.limits import HOLD_MS
from driftlog._core.version_vector import VersionVector
from driftlog.errors import Closed, DriftlogError
from driftlog.space.acknowledging import ACKNOWLEDGE_AFTER_MS
from driftlog.space.replica import SpaceReplica
from driftlog.testing import exchange
from tests.space.test_forks import add, copy_device
from tests.space.test_rejected import APP, Fleet
from tests.space.test_verdicts import take
from tests.todo_app import TodoAdded

NOTHING = VersionVector.of([])


numbers = count()


def milk(space: Space) -> Timestamp:
    """Say something that nobody else says."""
    return space.append(TodoAdded(f"milk {next(numbers)}", "milk"))[0]


def later(timestamp: Timestamp) -> Timestamp:
    return timestamp._replace(hlc=Hlc(timestamp.hlc + (1 << 32)))


def met(n: int, entropy: Callable[[int], bytes] = urandom) -> Fleet:
    """Devices that have all heard of one another."""
    spaces = Fleet(APP, n, entropy)
    for number, _ in enumerate(spaces):
        spaces.says(number, TodoAdded(f"hello {number}", ""))
    share(spaces)
    return spaces


def share(spaces: list[Space]) -> None:
    for _ in range(2):
        for other in spaces[1:]:
            exchange(spaces[0], other)


def timestamps(space: Space) -> set[Timestamp]:
    return {entry.timestamp for entry in space.log() if entry.state != "held"}


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


# --- acknowledging ---------------------------------------------------------------------------------------------------


def test_a_device_that_only_reads_settles_what_the_others_said_by_saying_that_it_is_here() -> None:
    spaces = met(2)
    ann, bob = spaces
    added = spaces.says(0, TodoAdded("1", "milk"))
    exchange(ann, bob)
    assert ann.settled is not None
    assert ann.settled < added

    seen = bob.acknowledge()
    exchange(ann, bob)

    assert seen is not None
    assert ann.settled == seen
    assert bob.settled == added
    entries = [entry for entry in ann.log() if entry.timestamp == seen]
    assert [(entry.name, entry.event, entry.state.value) for entry in entries] == [("driftlog.seen", None, "applied")]
    assert ann.digest() == bob.digest()
    assert ann.status().unknown == bob.status().rejected == 0
    ann.rebuild()
    assert ann.status().unknown == 0


def test_there_is_nothing_to_answer_where_nothing_was_said_or_this_device_has_spoken_since() -> None:
    spaces = met(2)
    ann, bob = spaces
    assert milk(ann) is not None
    assert ann.acknowledge() is None
    exchange(ann, bob)
    milk(bob)
    assert bob.acknowledge() is None


def test_an_answer_is_not_answered_so_idle_devices_fall_silent() -> None:
    spaces = met(3)
    share(spaces)
    for space in spaces:
        space.acknowledge()
    share(spaces)
    added = spaces.says(0, TodoAdded("1", "milk"))
    share(spaces)
    answers = [[space.acknowledge() for space in spaces]]
    for _ in range(5):
        share(spaces)
        answers.append([space.acknowledge() for space in spaces])

    assert [at is not None for at in answers[0]] == [False, True, True]
    assert answers[1:] == [[None] * 3] * 5
    for space in spaces:
        assert space.settled is not None
        assert space.settled >= added


def test_undoing_something_is_saying_something() -> None:
    spaces = met(2)
    ann, bob = spaces
    added = spaces.says(0, TodoAdded("1", "milk"))
    exchange(ann, bob)
    bob.acknowledge()
    spaces.clocks[0].now_ms += 10
    exchange(ann, bob)
    ann.undo(added)
    exchange(ann, bob)

    assert bob.acknowledge() is not None


def test_syncing_answers_by_itself_after_a_while_and_once_for_all_that_was_said() -> None:
    spaces = met(2)
    ann, bob = spaces
    clock = spaces.clocks[1]
    replica = SpaceReplica(bob._engine, lambda _, __: None)
    told: list[None] = []
    replica.on_change(lambda: told.append(None))
    replica.look_around()
    replica.look_around()
    assert told == []

    for number in range(3):
        spaces.says(0, TodoAdded(str(number), "milk"))
        exchange(ann, bob)
        told.clear()
        replica.look_around()
        clock.now_ms += ACKNOWLEDGE_AFTER_MS // 4
        assert told == []
    clock.now_ms += ACKNOWLEDGE_AFTER_MS // 4
    replica.look_around()
    assert told == [None], "the sync is woken to send it"

    answers = [entry for entry in bob.log() if entry.name == "driftlog.seen"]
    assert len(answers) == 1
    exchange(ann, bob)
    assert ann.settled == answers[0].timestamp
    for _ in range(3):
        clock.now_ms += ACKNOWLEDGE_AFTER_MS * 10
        replica.look_around()
    # Of the two the one is what it states about its view.
    assert told == [None, None]
    assert [entry.name for entry in bob.log()].count("driftlog.seen") == 1


def test_whoever_says_something_meanwhile_has_answered() -> None:
    spaces = met(2)
    ann, bob = spaces
    replica = SpaceReplica(bob._engine, lambda _, __: None)
    spaces.says(0, TodoAdded("1", "milk"))
    exchange(ann, bob)
    replica.look_around()
    spaces.clocks[1].now_ms += ACKNOWLEDGE_AFTER_MS - 1
    milk(bob)
    replica.look_around()
    spaces.clocks[1].now_ms += 1

    replica.look_around()
    assert not [entry for entry in bob.log() if entry.name == "driftlog.seen"]

    spaces.clocks[0].now_ms += ACKNOWLEDGE_AFTER_MS
    spaces.says(0, TodoAdded("2", "milk"))
    exchange(ann, bob)
    replica.look_around()
    assert not [entry for entry in bob.log() if entry.name == "driftlog.seen"], "its while begins anew"


def test_a_clock_that_is_set_back_makes_nobody_wait_for_years() -> None:
    spaces = met(2)
    ann, bob = spaces
    replica = SpaceReplica(bob._engine, lambda _, __: None)
    spaces.says(0, TodoAdded("1", "milk"))
    exchange(ann, bob)
    replica.look_around()
    spaces.clocks[1].now_ms -= 10 * 365 * 24 * 3_600_000
    replica.look_around()
    spaces.clocks[1].now_ms += ACKNOWLEDGE_AFTER_MS
    replica.look_around()

    # What it states about its view says that it is here, too.
    assert [entry.name for entry in bob.log()][-1] == "driftlog.digest"
    assert bob.acknowledge() is None


def test_what_another_process_settled_is_told_when_somebody_looks_around(tmp_path: Path) -> None:
    with APP.open(tmp_path / "a.db") as a, APP.open(tmp_path / "a.db") as again:
        told: list[Timestamp] = []
        replica = SpaceReplica(a._engine, lambda _, __: None)
        soon = milk(a)._replace(device=DeviceKey(b"\xff" * 32))
        a.on_settled(soon, told.append)
        milk(again)
        assert told == []

        replica.look_around()

        assert told == [a.settled]


# --- waiting ---------------------------------------------------------------------------------------------------------


def test_who_waits_is_called_once_as_soon_as_the_event_is_settled() -> None:
    spaces = met(2)
    ann, bob = spaces
    told: list[Timestamp] = []
    first, second = spaces.says(0, TodoAdded("1", "milk")), spaces.says(0, TodoAdded("2", "bread"))
    ann.on_settled(second, told.append)
    ann.on_settled(first, told.append)
    ann.on_settled(first, lambda _: told.append(first))()
    assert told == []

    take(bob, ann)
    milk(bob)
    take(ann, bob)
    settled = ann.settled
    assert settled is not None
    assert told == [settled, settled]
    milk(bob)
    take(ann, bob)
    assert len(told) == 2

    ann.on_settled(first, told.append)
    assert len(told) == 3, "settled already"


def test_what_a_waiting_callback_raises_is_logged_and_the_write_stands(caplog: pytest.LogCaptureFixture) -> None:
    with APP.open(":memory:") as space:
        told: list[Timestamp] = []
        wanted = milk(space)._replace(device=DeviceKey(b"\xff" * 32))

        def broken(_: Timestamp) -> None:
            raise LookupError

        space.on_settled(wanted, broken)
        space.on_settled(wanted, told.append)
        milk(space)
        milk(space)

        assert len(told) == 1
        assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_what_cannot_be_a_timestamp_is_refused() -> None:
    with APP.open(":memory:") as space, pytest.raises(DriftlogError, match="no timestamp"):
        space.on_settled(5, print)  # type: ignore[arg-type]


def test_waiting_in_an_event_loop_ends_with_what_is_settled_or_with_the_space() -> None:
    async def main() -> None:
        spaces = met(2)
        ann, bob = spaces
        added = spaces.says(0, TodoAdded("1", "milk"))
        waiting = asyncio.create_task(ann.asettle(added))
        in_vain = asyncio.create_task(bob.asettle(added))
        given_up = asyncio.create_task(ann.asettle(added))
        while not (ann._engine.telling.settling._wait_by_key and bob._engine.telling.settling._wait_by_key):
            await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        take(bob, ann)
        milk(bob)
        take(ann, bob)

        assert await waiting == ann.settled
        assert ann._engine.telling.settling._wait_by_key == {}
        assert await in_vain >= added
        late = asyncio.create_task(bob.asettle(later(added)))
        while not bob._engine.telling.settling._wait_by_key:
            await asyncio.sleep(0)
        bob.close()
        with pytest.raises(Closed, match="before"):
            await late

    asyncio.run(main())
