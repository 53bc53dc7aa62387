"""A device that only reads says that it is here, so that what the others said is settled."""

from pathlib import Path

from driftlog import Timestamp
from driftlog._core.ids import DeviceKey
from driftlog.space.acknowledging import ACKNOWLEDGE_AFTER_MS
from driftlog.space.replica import SpaceReplica
from driftlog.testing import exchange
from tests.space.settling import met, milk, share
from tests.space.test_rejected import APP
from tests.todo_app import TodoAdded


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
