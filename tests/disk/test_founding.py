"""Founding: what `open` has returned is what is there after a power cut, and what it has not can be founded again."""

from pathlib import Path

import pytest

from driftlog._sqlite.connection import Durability
from driftlog.errors import StorageError
from driftlog.testing.disk import SYNCED, OneFault, SimulatedDisk, cuts, write_image
from driftlog.testing.disk.faults import Kind, io_error
from tests.todo_app import todo_app

APP = todo_app()


@pytest.mark.parametrize("durability", ["full", "relaxed"])
def test_a_space_whose_invite_may_have_been_given_away_is_not_founded_again_as_another(
    tmp_path: Path, durability: Durability
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    with (
        SimulatedDisk(here) as disk,
        APP.open(here / "todos.db", durability=durability, vfs=disk.vfs) as space,
    ):
        [*_, cut] = cuts(disk.journal)
        device, space_id = space.device, space.space_id

    write_image(cut.image(SYNCED), there)

    with APP.open(there / "todos.db") as found:
        assert (found.device, found.space_id) == (device, space_id)


class FailsToSyncTheKey:
    """A disk on which a key file cannot be synced the first time."""

    def __init__(self) -> None:
        self.failures = 0

    def __call__(self, kind: Kind, file: str, _: int, /) -> None:
        if kind == "sync" and file == "-device" and not self.failures:
            self.failures += 1
            raise io_error(kind)


def test_a_key_that_cannot_be_synced_founds_nothing_and_the_next_try_does(tmp_path: Path) -> None:
    with SimulatedDisk(tmp_path) as disk:
        disk.faults = FailsToSyncTheKey()

        with pytest.raises(StorageError, match=r"this device's key, cannot be written .*nothing was recorded"):
            APP.open(tmp_path / "todos.db", vfs=disk.vfs)

        with APP.open(tmp_path / "todos.db", vfs=disk.vfs) as space:
            assert space.status().events == 0


def test_a_new_key_in_the_place_of_another_is_what_a_power_cut_leaves(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    with SimulatedDisk(here) as disk:
        disk.faults = OneFault(6, "sync")  # once the key is there
        with pytest.raises(StorageError):
            APP.open(here / "todos.db", vfs=disk.vfs)
        disk.faults = None
        with APP.open(here / "todos.db", vfs=disk.vfs) as space:
            [*_, cut] = cuts(disk.journal)
            device = space.device

    write_image(cut.image(SYNCED), there)

    with APP.open(there / "todos.db") as found:
        assert found.device == device
