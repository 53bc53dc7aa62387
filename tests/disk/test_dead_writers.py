"""A process that dies between writing a transaction and syncing it: who starts again has it synced before using it."""

from contextlib import closing
from pathlib import Path

import pytest

from driftlog._core.version_vector import VersionVector
from driftlog._sqlite.connection import Durability
from driftlog.testing.disk import SYNCED, Image, SimulatedDisk, cuts, write_image
from driftlog.testing.disk.faults import Kind
from tests.disk.world import NAME, device_app
from tests.todo_app import TodoAdded

APP = device_app()


class Died(BaseException):
    """What a process feels that is killed."""


class Dying:
    """A disk on whose next sync a process dies, and what it then leaves: its writes are in the machine's memory."""

    def __init__(self, directory: Path) -> None:
        self.disk = SimulatedDisk(directory)
        self._left: Image = {}
        self._written = 0

    def _die(self, kind: Kind, _file: str, _size: int, /) -> None:
        if kind == "sync" and not self._left:
            there = [path for path in self.disk.directory.iterdir() if not path.name.endswith("-shm")]
            self._left = {path.name: path.read_bytes() for path in there}
            self._written = len(self.disk.journal)
            raise Died

    def arm(self) -> None:
        self.disk.faults = self._die

    def start_again(self) -> None:
        """Undo what Python has done in taking leave of the process."""
        assert self._left, "nothing was synced, so nobody died"
        self.disk.faults = None
        write_image(self._left, self.disk.directory)
        del self.disk.journal[self._written :]

    def cut(self) -> Image:
        """Give what is left if power goes now and all is lost that was not synced."""
        [*_, cut] = cuts(self.disk.journal)
        return cut.image(SYNCED)


@pytest.mark.parametrize("durability", ["full", "relaxed"])
def test_an_envelope_that_a_dead_process_has_left_is_on_disk_before_it_is_handed_on(
    tmp_path: Path, durability: Durability
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    dying = Dying(here)
    with dying.disk as disk:
        with closing(APP.open(here / NAME, vfs=disk.vfs, durability=durability)) as space:
            space.append(TodoAdded(id="1", text="milk"))
            dying.arm()
            with pytest.raises(Died):
                list(space.envelopes_for(VersionVector()))
        dying.start_again()

        with APP.open(here / NAME, vfs=disk.vfs, durability=durability) as space:
            given = list(space.envelopes_for(VersionVector()))
            write_image(dying.cut(), there)

    with APP.open(there / NAME) as space:
        space.append(TodoAdded(id="2", text="bread"))
        kept = list(space.envelopes_for(VersionVector()))
    assert len(given) == 1
    assert kept[:1] == given, "a number was given twice"
    assert len(kept) == 2
