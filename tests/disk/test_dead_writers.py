"""A process that dies before what it wrote is synced, or after a sync has failed: who starts again has it on disk first."""

from contextlib import closing
from pathlib import Path

import apsw
import pytest

from driftlog._core.version_vector import VersionVector
from driftlog._sqlite import wal as wal_module
from driftlog._sqlite.connection import Durability
from driftlog.errors import DiskFull, StorageError
from driftlog.testing.disk import SYNCED, Image, OneFault, Room, SimulatedDisk, cuts, write_image
from driftlog.testing.disk.faults import Kind, io_error
from tests.disk.cutting import cut_all, random_cuts
from tests.disk.relays import DEVICES, judge_relay, opened, store
from tests.disk.world import NAME, device_app, workplace
from tests.protocol.fakes import chain
from tests.todo_app import TodoAdded

APP = device_app()


class Died(BaseException):
    """What a process feels that is killed."""


class Dying:
    """A disk on which a process dies, at its next sync or when told, and what it then leaves in the machine's memory."""

    def __init__(self, directory: Path) -> None:
        self.disk = SimulatedDisk(directory)
        self._left: Image = {}
        self._written = 0

    def _die(self, kind: Kind, _file: str, _size: int, /) -> None:
        if kind == "sync" and not self._left:
            self.die()
            raise Died

    def arm(self) -> None:
        self.disk.faults = self._die

    def die(self) -> None:
        """Leave the files as they are now, whatever Python does with them in taking leave of the process."""
        there = [path for path in self.disk.directory.iterdir() if not path.name.endswith("-shm")]
        self._left = {path.name: path.read_bytes() for path in there}
        self._written = len(self.disk.journal)

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


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The folder on the disk that fails."""
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The folder for what power leaves of it."""
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("durability", ["full", "relaxed"])
def test_an_envelope_that_a_dead_process_has_left_is_on_disk_before_it_is_handed_on(
    here: Path, there: Path, durability: Durability
) -> None:
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


class FailedSync:
    """A disk on which one sync of a WAL fails: what was to be synced stays in memory, and no later sync will write it."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, kind: Kind, file: str, _size: int, /) -> None:
        if kind == "sync" and file.endswith("-wal"):
            self.left -= 1
            if self.left == 0:
                raise io_error("sync")


def die_after_a_failed_sync(dying: Dying, path: Path) -> None:
    """Append an event that is refused, and leave it in the machine's memory, where no later sync will write it."""
    with closing(APP.open(path, vfs=dying.disk.vfs)) as space:
        dying.disk.faults = FailedSync(1)
        with pytest.raises(StorageError):
            space.append(TodoAdded(id="1", text="milk"))
        dying.die()
    dying.start_again()


def test_what_is_appended_after_a_failed_sync_and_the_end_of_its_process_outlives_power(
    here: Path, there: Path
) -> None:
    dying = Dying(here)
    with dying.disk as disk:
        die_after_a_failed_sync(dying, here / NAME)

        with APP.open(here / NAME, vfs=disk.vfs) as space:
            space.append(TodoAdded(id="2", text="bread"))
            seen = space.query("SELECT id FROM todo")
            write_image(dying.cut(), there)

    with APP.open(there / NAME) as space:
        assert space.query("SELECT id FROM todo") == seen == [("1",), ("2",)]


@pytest.mark.parametrize("is_first_commit_failing", [False, True], ids=["well", "after one that fails"])
def test_who_opens_beside_one_that_writes_for_long_settles_the_wal_with_its_first_commit(
    here: Path, there: Path, monkeypatch: pytest.MonkeyPatch, *, is_first_commit_failing: bool
) -> None:
    monkeypatch.setattr(wal_module, "SETTLING_MS", 20)
    dying = Dying(here)
    with dying.disk as disk:
        die_after_a_failed_sync(dying, here / NAME)

        with closing(apsw.Connection(str(here / NAME), vfs=disk.vfs)) as other:
            other.execute("BEGIN IMMEDIATE")
            with closing(APP.open(here / NAME, vfs=disk.vfs)) as space:
                other.execute("ROLLBACK")
                if is_first_commit_failing:
                    # The first read is of the WAL that is to be written over itself.
                    disk.faults = OneFault(1, "read")
                    with pytest.raises(StorageError):
                        space.append(TodoAdded(id="2", text="bread"))
                    disk.faults = None
                    assert space.query("SELECT id FROM todo") == [("1",)]
                space.append(TodoAdded(id="2", text="bread"))
                write_image(dying.cut(), there)

    with APP.open(there / NAME) as space:
        assert space.query("SELECT id FROM todo") == [("1",), ("2",)]


@pytest.mark.parametrize("number", [1, 2])
def test_what_a_relay_acknowledges_after_its_file_could_not_be_made_outlives_power(number: int) -> None:
    """The first sync is of the WAL's first bytes, the second of all tables."""
    with workplace() as directory:
        dying = Dying(directory)
        with dying.disk as disk:
            disk.faults = FailedSync(number)
            with pytest.raises(StorageError):
                opened(disk)
            dying.die()
            dying.start_again()

            writing = opened(disk)
            store(disk, writing, chain(DEVICES[0], 2))
            with workplace() as elsewhere:
                plan = random_cuts(disk.journal, 24, number)
                assert cut_all("started again", disk.journal, plan, judge_relay, elsewhere).failures == []
            writing.close()


def test_another_process_at_work_does_not_forbid_to_open_what_a_dead_process_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_module, "SETTLING_MS", 20)
    dying = Dying(tmp_path)
    with dying.disk as disk:
        with closing(APP.open(tmp_path / NAME, vfs=disk.vfs)) as space:
            space.append(TodoAdded(id="1", text="milk"))
            dying.die()
        dying.start_again()
        # A file system that takes room to write over what is there, and has none, says so before anything is built on it.
        disk.faults = Room(0)
        with pytest.raises(DiskFull):
            APP.open(tmp_path / NAME, vfs=disk.vfs)
        disk.faults = None
        with APP.open(tmp_path / NAME, vfs=disk.vfs) as space:
            assert space.query("SELECT id FROM todo") == [("1",)]
            with space.transaction(), closing(APP.open(tmp_path / NAME, vfs=disk.vfs)) as other:
                assert other.query("SELECT id FROM todo") == [("1",)]


def test_a_wal_that_may_not_be_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dying = Dying(tmp_path)
    with dying.disk:
        with closing(APP.open(tmp_path / NAME)) as space:
            space.append(TodoAdded(id="1", text="milk"))
            dying.die()
        dying.start_again()

    def refuse(*_: object) -> None:
        raise apsw.ReadOnlyError("attempt to write a readonly database")

    # As where the mode of the WAL forbids it, which root does not feel.
    monkeypatch.setattr(wal_module, "_write_wal_over_itself", refuse)
    with APP.open(tmp_path / NAME) as space:
        assert space.query("SELECT id FROM todo") == [("1",)]
