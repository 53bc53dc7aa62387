"""A space that `open` has returned is the space that is there after a power cut, whatever its durability."""

from pathlib import Path

import pytest

from driftlog._sqlite.connection import Durability
from driftlog.testing.disk import SYNCED, SimulatedDisk, cuts, write_image
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
