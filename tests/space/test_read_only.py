"""A file or file system that cannot be written opens for reading, says so, and writing is refused in words.

Permissions mean nothing to root, so as root a child process of nobody's looks at the files; a file system is made
read-only for root too, by a mount.
"""

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from driftlog import Space
from driftlog.errors import DriftlogError, ReadOnly, StorageError
from tests.space.disks import read_only
from tests.todo_app import TodoAdded, todo_app

APP = todo_app()
NOBODY = 65534

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody can look into; pytest's own are their owner's only."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "place"
        place.mkdir(mode=0o755)
        place.parent.chmod(0o755)
        yield place


def make(place: Path) -> Path:
    """Make a space with one event, closed."""
    path = place / "todos.db"
    with APP.open(path) as space:
        space.append(TodoAdded(id="1", text="milk"))
    return path


def as_nobody(check: Callable[[], None]) -> None:
    """Run a check as a user to whom permissions mean something: in a child that stops being root, or right here."""
    if os.geteuid() != 0:
        check()
        return
    with warnings.catch_warnings():
        # The child runs Python code after a fork in a process with threads: it touches none of their locks.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            check()
            status = 0
        except BaseException:  # noqa: BLE001 - a child of a fork must not go on as if it were the parent
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status == 0, "see the traceback of the child above"


def assert_readable(space: Space) -> None:
    assert space.query("SELECT id, text FROM todo") == [("1", "milk")]
    [entry] = space.log()
    assert space.why("todo", "1") == [entry]
    with space.at(entry.timestamp) as past:
        assert past.digest() == space.digest()
    assert len(space.digest()) == 32
    assert space.query("SELECT count(*) FROM driftlog_pending") == [(1,)]
    status = space.status()
    assert (status.events, status.is_read_only) == (1, True)
    assert space.is_read_only


def assert_refuses_to_write(space: Space) -> None:
    message = (
        r"todos.db is open for reading only, because the file or its directory cannot be written; check their perm"
    )
    for write in (
        lambda: space.append(TodoAdded(id="2", text="bread")),
        lambda: space.receive([]),
        lambda: space.transaction().__enter__(),
        space.rebuild,
    ):
        with pytest.raises(ReadOnly, match=message):
            write()


def assert_opens_for_reading(path: Path) -> None:
    with APP.open(path) as space:
        assert_readable(space)
        assert_refuses_to_write(space)
        assert_readable(space)


def test_a_space_on_a_read_only_file_system_opens_for_reading_and_says_so(place: Path) -> None:
    path = make(place)

    with read_only(place):
        assert_opens_for_reading(path)

    with APP.open(path) as space:
        assert not space.is_read_only
        space.append(TodoAdded(id="2", text="bread"))


def test_what_was_sealed_before_can_be_handed_on_from_a_read_only_file_system(place: Path) -> None:
    path = make(place)
    with APP.open(path) as space:
        space.seal()
        link = space.invite()

    with read_only(place), APP.open(path) as space, APP.join(":memory:", link) as other:
        other.receive(space.envelopes_for(other.version_vector()))
        assert other.digest() == space.digest()


def test_a_new_space_is_not_founded_where_nothing_can_be_written(place: Path) -> None:
    with (
        read_only(place),
        pytest.raises(StorageError, match=r"todos\.db cannot be opened: .*; check that its directory"),
    ):
        APP.open(place / "todos.db")

    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("directory_mode", "file_mode"), [(0o555, 0o444), (0o777, 0o444), (0o555, 0o666)], ids=["both", "file", "directory"]
)
def test_a_file_or_directory_without_write_permission_opens_for_reading(
    place: Path, directory_mode: int, file_mode: int
) -> None:
    path = make(place)
    # Readable for the child of nobody's. A key file that its reader may not read is another matter.
    path.with_name("todos.db-device").chmod(0o444)
    path.chmod(file_mode)
    place.chmod(directory_mode)
    try:
        as_nobody(lambda: assert_opens_for_reading(path))
    finally:
        place.chmod(0o755)
        path.chmod(0o644)

    with APP.open(path) as space:
        assert space.query("SELECT id FROM todo") == [("1",)]
        space.append(TodoAdded(id="2", text="bread"))


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() != 0, reason="only root can make a file that its neighbour may not read"
)
def test_a_key_file_that_may_not_be_read_is_named(place: Path) -> None:
    path = make(place)
    path.chmod(0o444)

    def look() -> None:
        with pytest.raises(DriftlogError, match=r"todos\.db-device"):
            APP.open(path)

    as_nobody(look)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root makes files that others may not use")
@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
def test_a_file_beside_which_another_user_left_one_opens_for_reading(place: Path, suffix: str) -> None:
    path = make(place)
    path.with_name("todos.db-device").chmod(0o444)
    for name in (place, *place.iterdir()):
        os.chown(name, NOBODY, NOBODY)
    path.with_name(f"todos.db{suffix}").touch(mode=0o600)

    as_nobody(lambda: assert_opens_for_reading(path))
