"""A relay killed while devices upload: what it had confirmed is in its file, and the devices converge all the same."""

import random
from pathlib import Path

import pytest

from driftlog import Space, Sync
from tests.crash.checks import check_relay
from tests.crash.device import APP
from tests.crash.processes import Child, Children
from tests.todo_app import TodoAdded

ROUNDS = 18
UPLOADS_MAX = 6
SECONDS_MAX = 30

pytestmark = pytest.mark.slow


def test_what_a_relay_confirmed_is_there_after_kill_9_and_devices_converge(tmp_path: Path) -> None:
    kill_relay(tmp_path, 5, ROUNDS)


def kill_relay(folder: Path, seed: int, rounds: int) -> None:
    """Kill a relay so many times while two devices upload, and look at its file each time."""
    rng = random.Random(seed)
    paths = {name: folder / f"{name}.db" for name in ("a", "b", "relay")}
    with (
        Children("relay") as children,
        APP.open(paths["a"]) as a,
        APP.join(paths["b"], a.invite()) as b,
    ):
        relay = children.next()
        url = begin(relay, paths["relay"], 0)
        # The devices are told of nothing: they find the relay again by themselves, each time.
        syncs = [space.sync(url) for space in (a, b)]
        for number in range(rounds):
            upload(rng, (a, b), syncs, f"{number}")
            relay.kill(rng)
            for space in (a, b):
                check_relay(paths["relay"], Path(space._engine.path), space.device, confirmed(space))
            relay = children.next()
            assert begin(relay, paths["relay"], int(url.rpartition(":")[2])) == url

        for sync in (*syncs, syncs[0]):
            assert sync.wait(SECONDS_MAX)
        assert a.digest() == b.digest()
        assert a.status().pending == b.status().pending == 0


def begin(relay: Child, path: Path, port: int) -> str:
    relay.begin(path, port)
    [_, url] = relay.line("where it listens").split()
    return url


def upload(rng: random.Random, spaces: tuple[Space, Space], syncs: list[Sync], name: str) -> None:
    """Append and wait for the relay's word a few times, then append without waiting: the end comes during that."""
    for number in range(rng.randint(1, UPLOADS_MAX)):
        at = rng.randrange(2)
        spaces[at].append(TodoAdded(id=f"{name}-{number}", text="x" * rng.randint(0, 2_000)))
        assert syncs[at].wait(SECONDS_MAX)
    for space in spaces:
        for number in range(rng.randint(1, UPLOADS_MAX)):
            space.append(TodoAdded(id=f"{name}-{space.device[:4].hex()}-{number}", text="x" * rng.randint(0, 2_000)))


def confirmed(space: Space) -> int:
    [relay] = space.status().relays
    return relay.confirmed_envelopes
