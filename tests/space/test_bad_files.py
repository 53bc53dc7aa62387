"""Paths and links that are not what was asked for: a clear error, and every file is left as it was, byte for byte."""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from driftlog import App, DriftlogError
from driftlog.errors import (
    Corrupt,
    InvalidInvite,
    MissingDeviceKey,
    NewerFormat,
    NotADriftlogFile,
    OtherApp,
    StorageError,
    UnusableFile,
)
from driftlog.testing import RelayThread
from tests.todo_app import TodoAdded, todo_app

APP = todo_app()
OTHER_APP = todo_app("org.example.others")


@contextmanager
def left_as_it_was(directory: Path) -> Iterator[None]:
    """No file of the directory changes, comes or goes."""
    before = contents(directory)
    yield
    assert contents(directory) == before


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a space with one event, closed."""
    path = tmp_path / "todos.db"
    with APP.open(path) as space:
        space.append(TodoAdded(id="1", text="milk"))
    return path


def assert_whole(path: Path) -> None:
    with APP.open(path) as space:
        assert space.query("SELECT id FROM todo") == [("1",)]
        space.append(TodoAdded(id="2", text="bread"))


# --- what is no Driftlog file ----------------------------------------------------------------------------------------


def write_text(path: Path) -> None:
    path.write_text("Dear diary, this is not a database. " * 200)


def write_short_text(path: Path) -> None:
    path.write_text("milk\n")


def write_other_database(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE contacts (name TEXT)")
        connection.execute("INSERT INTO contacts VALUES ('Ada')")
    connection.close()


def write_relay(path: Path) -> None:
    relay = RelayThread(path)
    relay.start()
    relay.stop()


STRANGERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a text": (write_text, "is not an SQLite database; choose another path, it was left as it is"),
    "a line": (write_short_text, "is not an SQLite database; choose another path, it was left as it is"),
    "an address book": (write_other_database, "is an SQLite database, but not a Driftlog space; choose another path"),
    "a relay's file": (write_relay, "is an SQLite database, but not a Driftlog space; choose another path"),
}


@pytest.mark.parametrize(("write", "message"), STRANGERS.values(), ids=STRANGERS)
def test_a_file_that_is_something_else_is_not_opened_nor_changed(
    tmp_path: Path, write: Callable[[Path], None], message: str
) -> None:
    write(tmp_path / "other.db")

    with left_as_it_was(tmp_path), pytest.raises(NotADriftlogFile, match=f"other.db {message}"):
        APP.open(tmp_path / "other.db")


@pytest.mark.parametrize(("write", "message"), STRANGERS.values(), ids=STRANGERS)
def test_nor_is_it_joined_into(tmp_path: Path, write: Callable[[Path], None], message: str) -> None:
    write(tmp_path / "other.db")
    with APP.open(":memory:") as space:
        link = space.invite()

    with left_as_it_was(tmp_path), pytest.raises(UnusableFile, match=r"other\.db (is|exists)"):
        APP.join(tmp_path / "other.db", link)


def test_an_empty_file_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()

    with APP.open(path) as space:
        space.append(TodoAdded(id="1", text="milk"))

    assert_whole(path)


def test_a_directory_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot be opened: .*; check that its directory exists and is writable"):
        APP.open(tmp_path / "nowhere" / "todos.db")

    assert list(tmp_path.iterdir()) == []


def test_a_file_of_a_newer_driftlog_is_refused_with_both_numbers(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 3)
    connection.close()

    with (
        left_as_it_was(path.parent),
        pytest.raises(NewerFormat, match=r"has format 3, .* reads up to 2; update Driftlog"),
    ):
        APP.open(path)


def test_a_file_of_the_format_that_was_never_released_is_refused(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 1)
    connection.close()

    with left_as_it_was(path.parent), pytest.raises(UnusableFile, match=r"has format 1, .*; join the space again"):
        APP.open(path)


def test_another_apps_file_is_refused_by_both_names(path: Path) -> None:
    message = "belongs to the app 'org.example.todos', this is 'org.example.others'; open it with that app"
    with left_as_it_was(path.parent), pytest.raises(OtherApp, match=message):
        OTHER_APP.open(path)

    assert_whole(path)


def test_a_file_that_was_cut_short_is_called_damaged_and_left_for_rescue(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: 3 * 4096])

    with left_as_it_was(path.parent), pytest.raises(Corrupt, match=r"is damaged: .*; restore a backup, or join again"):
        APP.open(path)


# --- the key file ----------------------------------------------------------------------------------------------------


def key_of(path: Path) -> Path:
    return path.with_name(path.name + "-device")


def test_without_its_key_file_a_space_is_not_opened_and_with_it_again_it_is(path: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    key_of(path).rename(hidden)

    message = r"todos.db-device is not there: .* Put it back beside todos.db, or join the space again .* with an invite"
    with left_as_it_was(tmp_path), pytest.raises(MissingDeviceKey, match=message):
        APP.open(path)

    hidden.rename(key_of(path))
    assert_whole(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"driftlog-device 1 " + b"0" * 62,
        b"driftlog-device 1 " + b"00\t" * 32,
        b"driftlog-device 1 " + b" " * 300 + b"0" * 64,
        b"driftlog-device 2 " + b"0" * 64,
    ],
)
def test_what_is_no_key_file_is_said_to_be_none(path: Path, tmp_path: Path, content: bytes) -> None:
    key_of(path).write_bytes(content)
    with left_as_it_was(tmp_path), pytest.raises(MissingDeviceKey, match="is not a device key file, or is damaged"):
        APP.open(path)


def test_of_a_large_file_where_the_key_should_be_little_is_read(path: Path, tmp_path: Path) -> None:
    with key_of(path).open("wb") as file:
        file.truncate(1 << 36)
    with pytest.raises(MissingDeviceKey, match="is not a device key file"):
        APP.open(path)


def test_the_key_of_another_device_is_not_taken_for_this_ones(path: Path, tmp_path: Path) -> None:
    with APP.open(path) as space:
        link = space.invite()
    APP.join(tmp_path / "other.db", link).close()
    kept = key_of(path).read_bytes()
    shutil.copy(key_of(tmp_path / "other.db"), key_of(path))

    message = "the key file beside .*todos.db is of another device or space; put back the one that belongs to it"
    with left_as_it_was(tmp_path), pytest.raises(MissingDeviceKey, match=message):
        APP.open(path)

    key_of(path).write_bytes(kept)
    assert_whole(path)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut short": lambda key: key[:-9],
    "too long": lambda key: key.strip() + b"00\n",
    "not hexadecimal": lambda key: key[:-3] + b"zz\n",
    "not text": lambda key: b"\xff\xfe" + key,
    "of a newer version": lambda key: key.replace(b"device 1", b"device 2"),
    "something else": lambda _: b"-----BEGIN OPENSSH PRIVATE KEY-----\n",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_key_file_is_named_and_left_as_it_is(path: Path, damage: Callable[[bytes], bytes]) -> None:
    key_of(path).write_bytes(damage(key_of(path).read_bytes()))

    message = "todos.db-device is not a device key file, or is damaged; restore it from a backup"
    with left_as_it_was(path.parent), pytest.raises(MissingDeviceKey, match=message):
        APP.open(path)


def test_a_key_file_left_behind_by_a_deleted_space_is_kept_beside_the_new_one(path: Path) -> None:
    old_key = key_of(path).read_bytes()
    path.unlink()

    with APP.open(path) as space:
        assert space.query("SELECT * FROM todo") == []

    assert Path(f"{key_of(path)}.1").read_bytes() == old_key
    assert key_of(path).read_bytes() != old_key


def test_two_that_found_a_space_at_one_path_at_once_leave_one_that_opens(tmp_path: Path) -> None:
    path = tmp_path / "todos.db"
    has_begun = False

    def another_founds_it_meanwhile(count: int) -> bytes:
        nonlocal has_begun
        if not has_begun:
            has_begun = True
            with APP.open(path) as other:
                other.append(TodoAdded(id="1", text="milk"))
        return os.urandom(count)

    with APP.open(path, entropy=another_founds_it_meanwhile) as space:
        assert space.query("SELECT id FROM todo") == [("1",)]

    assert_whole(path)


# --- invites ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def link() -> str:
    with APP.open(":memory:") as space:
        return space.invite()


def test_joining_where_a_space_is_already_leaves_it_alone(path: Path, link: str) -> None:
    message = "todos.db exists already; join with the path of a new file, this one was left as it is"
    with left_as_it_was(path.parent), pytest.raises(UnusableFile, match=message):
        APP.join(path, link)

    assert_whole(path)


def refuse_link(tmp_path: Path, link: str, error: type[DriftlogError], message: str, app: App = APP) -> None:
    with left_as_it_was(tmp_path), pytest.raises(error, match=message):
        app.join(tmp_path / "new.db", link)


@pytest.mark.parametrize(
    "link", ["", "milk", "https://example.org/join#AQ", "driftlog://invite#AQ", "DRIFTLOG://JOIN#AQ"]
)
def test_a_link_that_is_no_invite_is_told_from_one(tmp_path: Path, link: str) -> None:
    refuse_link(tmp_path, link, InvalidInvite, "is not an invite; one begins with 'driftlog://join#'")


DAMAGED = "the invite link is cut short or altered; ask for it to be sent again, and copy all of it"


def test_a_link_cut_short_anywhere_is_refused_as_damaged(tmp_path: Path, link: str) -> None:
    begin = len("driftlog://join#")
    for end in range(begin, len(link)):
        refuse_link(tmp_path, link[:end], InvalidInvite, DAMAGED)


def test_a_link_with_one_letter_altered_anywhere_is_refused(tmp_path: Path, link: str) -> None:
    begin = len("driftlog://join#")
    for at in range(begin, len(link)):
        altered = link[:at] + ("A" if link[at] != "A" else "B") + link[at + 1 :]
        # The first letters are the version's: an invite of another version says so, rather than that it is damaged.
        refuse_link(tmp_path, altered, InvalidInvite, "cut short or altered|has version")


def test_a_link_that_was_wrapped_in_white_space_is_whole(tmp_path: Path, link: str) -> None:
    with APP.join(tmp_path / "new.db", f"  {link}\n") as space:
        assert space.query("SELECT * FROM todo") == []


def test_an_invite_to_another_apps_space_is_refused_by_both_names(tmp_path: Path, link: str) -> None:
    message = "the invite is for the app 'org.example.todos', this is 'org.example.others'; open it with that app"
    refuse_link(tmp_path, link, OtherApp, message, OTHER_APP)


# --- another process, between two looks -----------------------------------------------------------------------------------


def drawing_after(act: Callable[[], object]) -> Callable[[int], bytes]:
    """Give an entropy that does something the first time it is drawn from: when a file was found empty."""
    left = [act]

    def entropy(count: int) -> bytes:
        while left:
            left.pop()()
        return os.urandom(count)

    return entropy


def test_a_file_in_which_another_founds_a_space_meanwhile_is_opened_as_that_space(tmp_path: Path) -> None:
    path = tmp_path / "todos.db"
    found: list[bytes] = []

    def found_one() -> None:
        with APP.open(path) as first:
            found.append(first.space_id)

    with APP.open(path, entropy=drawing_after(found_one)) as space:
        assert [space.space_id] == found


def test_a_file_that_another_makes_something_else_meanwhile_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "todos.db"

    def make_a_strangers() -> None:
        with sqlite3.connect(path) as stranger:
            stranger.execute("CREATE TABLE note (text TEXT)")
        stranger.close()

    with pytest.raises(NotADriftlogFile, match=r"todos\.db is an SQLite database, but not"):
        APP.open(path, entropy=drawing_after(make_a_strangers))
