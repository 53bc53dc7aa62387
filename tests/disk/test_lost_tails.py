"""A disk that lied has lost the end of a file, and the file shows nothing of it: what is then healed, what is seen (P3)."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from driftlog import Space
from driftlog.errors import RelayRefused
from driftlog.testing import RelayThread, exchange
from driftlog.testing.disk import SYNCED, Image, Journal, Marked, SimulatedDisk, cuts, write_image
from driftlog.testing.relay import relay_thread
from tests.disk.scenarios import added
from tests.disk.world import NAME
from tests.space.test_restored import check_agreed, ids, synced
from tests.todo_app import Clock, todo_app

APP = todo_app()
LATER_MS = Clock().now_ms + 1_000

pytestmark = pytest.mark.slow


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayThread]:
    with relay_thread(tmp_path / "relay.db") as running:
        yield running


@pytest.fixture
def path(tmp_path: Path, relay: RelayThread) -> Path:
    """Give a file that has lost its second envelope, which the relay holds, and its third event, which was in none."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    with SimulatedDisk(here) as disk, APP.open(here / NAME, clock=Clock(), vfs=disk.vfs) as space:
        space.append(added("1"))
        synced(space, relay)
        disk.mark("the last sync that is true")
        space.append(added("2"))
        synced(space, relay)
        space.append(added("3"))
        image = lied(disk.journal)
    write_image(image, there)
    return there / NAME


def lied(journal: Journal) -> Image:
    """Give what is left when power goes at the end, and every sync after the note was a lie."""
    true = next(number for number, done in enumerate(journal, 1) if isinstance(done, Marked))
    [*_, last] = cuts(journal, lies=lambda _, number: number > true)
    return last.image(SYNCED)


def joined(space: Space) -> Space:
    return APP.join(":memory:", space.invite(), clock=Clock(LATER_MS))


def forked(space: Space) -> bool:
    return any(device.is_forked for device in space.status().devices)


def test_a_file_that_lost_its_end_is_like_one_that_never_had_it(path: Path) -> None:
    with APP.open(path, clock=Clock(LATER_MS)) as space:
        assert ids(space) == ["1"]
        assert space.verify() == []


@pytest.mark.parametrize("hears_first", [True, False], ids=["heard of first", "not heard of yet"])
def test_what_a_device_appends_follows_its_lost_envelopes(path: Path, relay: RelayThread, *, hears_first: bool) -> None:
    with APP.open(path, clock=Clock(LATER_MS)) as space, joined(space) as other:
        if hears_first:
            synced(space, relay)
            assert ids(space) == ["1", "2"]
        space.append(added("4"))
        synced(space, relay)
        synced(other, relay)

        check_agreed(space, other, expected=["1", "2", "4"])


def test_a_device_that_gives_lost_stamps_again_before_it_hears_forks_and_all_see_it_and_agree(
    path: Path, relay: RelayThread
) -> None:
    with APP.open(path, clock=Clock()) as space, joined(space) as other:
        space.append(added("4"))
        with pytest.raises(RelayRefused, match="another history of this device"):
            synced(space, relay)
        synced(other, relay)
        exchange(space, other)

        assert ids(space) == ids(other) == ["1", "2", "4"]
        assert space.digest() == other.digest()
        assert forked(space)
        assert forked(other)
        assert space.verify() == []
