"""A device killed while it is founded, while it works, and while it syncs: it opens, and all that it said is true."""

import random
from pathlib import Path

import pytest

from driftlog.testing.relay import relay_thread
from tests.crash.checks import Acknowledged, check_device, check_relay
from tests.crash.device import APP
from tests.crash.processes import Child, Children
from tests.todo_app import TodoAdded

ROUNDS = 22
LINES_MAX = 60
SECONDS_MAX = 30

FOUNDING_SECONDS_MAX = 0.03
"""Key file, database, tables: about this long on a slow disk. Some are killed before they begin, some after they end."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_append_returned_for_is_there_after_kill_9(tmp_path: Path, seed: int) -> None:
    kill_at_work(tmp_path, seed, ROUNDS)


def kill_at_work(folder: Path, seed: int, rounds: int) -> None:
    """Kill a device so many times while it works, and look at it each time."""
    rng = random.Random(seed)
    path = folder / "todos.db"
    acknowledged = Acknowledged()
    with Children("device") as children:
        for _ in range(rounds):
            acknowledged.take(lines_of_one_killed_at_work(children.next(), rng, path))
            check_device(path, acknowledged)
    assert len(acknowledged.events) > rounds * LINES_MAX // 3


def test_a_space_killed_while_it_is_founded_is_founded_the_next_time(tmp_path: Path) -> None:
    kill_at_founding(tmp_path, 3, ROUNDS)


def kill_at_founding(folder: Path, seed: int, rounds: int) -> None:
    """Kill so many devices, each while it founds its space."""
    rng = random.Random(seed)
    with Children("device") as children:
        for number in range(rounds):
            path = folder / f"{number}.db"
            acknowledged = Acknowledged()
            child = children.next()
            child.begin(path, number)
            acknowledged.take(child.kill(rng, FOUNDING_SECONDS_MAX))
            check_device(path, acknowledged)


def test_what_a_device_saw_confirmed_is_in_the_relays_file_though_the_device_was_killed(tmp_path: Path) -> None:
    kill_at_syncing(tmp_path, 4, ROUNDS)


def kill_at_syncing(folder: Path, seed: int, rounds: int) -> None:
    """Kill a device so many times while it syncs, and look at it and the relay each time."""
    rng = random.Random(seed)
    path, relay_path = folder / "todos.db", folder / "relay.db"
    acknowledged = Acknowledged()
    with APP.open(path) as space:
        device, link = space.device, space.invite()
    with relay_thread(relay_path) as relay, Children("device") as children:
        for _ in range(rounds):
            acknowledged.take(lines_of_one_killed_at_work(children.next(), rng, path, relay.url))
            check_device(path, acknowledged)
            check_relay(relay_path, path, device, acknowledged.confirmed)
        with APP.open(path) as space, APP.join(folder / "other.db", link) as other:
            other.append(TodoAdded(id="other", text="x"))
            syncs = [each.sync(relay.url) for each in (space, other)]
            for sync in (*syncs, syncs[0]):
                assert sync.wait(SECONDS_MAX)
            assert other.digest() == space.digest()
    assert acknowledged.confirmed > rounds


def lines_of_one_killed_at_work(child: Child, rng: random.Random, path: Path, *urls: str) -> list[list[str]]:
    """Let a device work until it has said a number of things drawn from chance, and a moment more."""
    child.begin(path, rng.getrandbits(32), *urls)
    for _ in range(rng.randint(1, LINES_MAX)):
        child.line("what it has done")
    return child.kill(rng)
