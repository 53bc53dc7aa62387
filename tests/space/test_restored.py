"""A device that was restored from a backup, and used before it heard from anybody, loses nothing and forks nothing (P11): it
goes on after its own later history, except where a clock or whom it met first forbids it.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import apsw
import pytest

from driftlog import Space
from driftlog._core.limits import ENVELOPE_EVENTS_MAX
from driftlog._core.version_vector import VersionVector
from driftlog.testing import RelayThread, exchange
from driftlog.testing.relay import relay_thread
from tests.space.test_forks import copy_device
from tests.todo_app import Clock, TodoAdded, TodoRenamed, todo_app

APP = todo_app()
SECONDS_MAX = 20
MINUTE_MS = 60_000
BEFORE, LOST, SINCE = Clock().now_ms, Clock().now_ms + MINUTE_MS, Clock().now_ms + 2 * MINUTE_MS


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayThread]:
    with relay_thread(tmp_path / "relay.db") as running:
        yield running


class Restored:
    """A device whose last two envelopes another one has, and a relay if there is one, but not its file."""

    def __init__(self, folder: Path, opened: ExitStack, relay: RelayThread | None = None) -> None:
        self._opened = opened
        self._path, backup = folder / "a.db", folder / "backup.db"
        self.clock = Clock(BEFORE)
        with APP.open(self._path, clock=self.clock) as space:
            self.other = opened.enter_context(APP.join(":memory:", space.invite(), clock=Clock(SINCE)))
            add(space, "before")
            exchange(space, self.other)
        shutil.copy(self._path, backup)
        with APP.open(self._path, clock=self.clock) as space:
            self.clock.now_ms = LOST
            for id_ in ("lost 1", "lost 2"):
                add(space, id_)
                exchange(space, self.other)
            if relay is not None:
                synced(space, relay)
        shutil.copy(backup, self._path)
        self.clock.now_ms = SINCE
        self.space = opened.enter_context(APP.open(self._path, clock=self.clock))

    def start_again(self) -> None:
        self.space.close()
        self.space = self._opened.enter_context(APP.open(self._path, clock=self.clock))


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def add(space: Space, id_: str) -> None:
    space.append(TodoAdded(id=id_, text="x"))


def synced(space: Space, relay: RelayThread) -> None:
    sync = space.sync(relay.url)
    try:
        assert sync.wait(SECONDS_MAX)
    finally:
        sync.stop()


def ids(space: Space) -> list[str]:
    return [row.id for row in space.query("SELECT id FROM todo ORDER BY id")]


def check_agreed(*spaces: Space, expected: list[str]) -> None:
    for space in spaces:
        assert ids(space) == expected
        assert space.digest() == spaces[0].digest()
        assert not any(device.is_forked for device in space.status().devices)
        assert space.verify() == []


def check_flagged(restored: Restored, expected: list[str]) -> None:
    for space in (restored.space, restored.other):
        assert ids(space) == expected
        assert [one.is_forked for one in space.status().devices if one.device == restored.space.device] == [True]
    assert restored.space.digest() == restored.other.digest()


def test_what_it_made_since_follows_what_another_device_has_of_it(tmp_path: Path, opened: ExitStack) -> None:
    restored = Restored(tmp_path, opened)
    add(restored.space, "since 1")
    exchange(restored.space, restored.other)
    add(restored.space, "since 2")
    exchange(restored.other, restored.space)

    check_agreed(restored.space, restored.other, expected=["before", "lost 1", "lost 2", "since 1", "since 2"])


def test_what_it_made_since_follows_what_a_relay_has_of_it(
    tmp_path: Path, opened: ExitStack, relay: RelayThread
) -> None:
    restored = Restored(tmp_path, opened, relay)
    add(restored.space, "since")
    for space in (restored.space, restored.other):
        synced(space, relay)

    check_agreed(restored.space, restored.other, expected=["before", "lost 1", "lost 2", "since"])
    assert restored.space.status().pending == 0
    assert restored.other.version_vector() == restored.space.version_vector()


def test_what_it_made_since_waits_until_all_of_its_history_has_come(tmp_path: Path, opened: ExitStack) -> None:
    restored = Restored(tmp_path, opened)
    add(restored.space, "since")
    vector = restored.other.version_vector()
    history = list(restored.other.envelopes_for(VersionVector()))

    for raw in history:
        assert list(restored.space.envelopes_for(vector)) == [], "it was sealed before its history was whole"
        restored.space.receive([raw])
        restored.start_again()
    exchange(restored.space, restored.other)

    check_agreed(restored.space, restored.other, expected=["before", "lost 1", "lost 2", "since"])


def test_what_was_undone_before_it_heard_stays_undone(tmp_path: Path, opened: ExitStack) -> None:
    restored = Restored(tmp_path, opened)
    [at] = restored.space.append(TodoAdded(id="since", text="x"))
    [renamed] = restored.space.append(TodoRenamed(id="before", text="y"))
    restored.space.undo(at)
    exchange(restored.space, restored.other)
    restored.space.undo(renamed)
    exchange(restored.space, restored.other)

    check_agreed(restored.space, restored.other, expected=["before", "lost 1", "lost 2"])
    assert restored.other.query("SELECT text FROM todo WHERE id = 'before'") == [("x",)]


@pytest.mark.parametrize("count", [1, ENVELOPE_EVENTS_MAX + 200], ids=["in one envelope", "in two"])
def test_what_was_pending_at_the_backup_and_was_sealed_since_does_not_stand_in_the_way(
    tmp_path: Path, opened: ExitStack, count: int
) -> None:
    path, backup, clock = tmp_path / "a.db", tmp_path / "backup.db", Clock(BEFORE)
    with APP.open(path, clock=clock) as space:
        other = opened.enter_context(APP.join(":memory:", space.invite(), clock=Clock(SINCE)))
        space.append(*[TodoAdded(id=f"{number:04}", text="x") for number in range(count)])
    shutil.copy(path, backup)
    with APP.open(path, clock=clock) as space:
        exchange(space, other)
    shutil.copy(backup, path)
    clock.now_ms = SINCE
    restored = opened.enter_context(APP.open(path, clock=clock))
    add(restored, "since")
    exchange(restored, other)

    check_agreed(restored, other, expected=[*(f"{number:04}" for number in range(count)), "since"])


def test_a_restored_file_that_is_repaired_goes_on_after_all_of_its_history(tmp_path: Path, opened: ExitStack) -> None:
    restored = Restored(tmp_path, opened)
    add(restored.space, "since")
    restored.space.close()
    connection = apsw.Connection(str(tmp_path / "a.db"))
    connection.execute("UPDATE driftlog_envelope SET raw = zeroblob(length(raw))")
    connection.close()
    APP.repair(tmp_path / "a.db", clock=restored.clock)
    restored.start_again()
    exchange(restored.space, restored.other)

    check_agreed(restored.space, restored.other, expected=["before", "lost 1", "lost 2", "since"])


def test_where_its_clock_went_back_too_both_histories_count_and_the_key_is_flagged(
    tmp_path: Path, opened: ExitStack
) -> None:
    restored = Restored(tmp_path, opened)
    restored.clock.now_ms = BEFORE
    add(restored.space, "since")
    exchange(restored.space, restored.other)

    check_flagged(restored, expected=["before", "lost 1", "lost 2", "since"])


def test_where_it_first_meets_somebody_who_lacks_its_history_both_count(tmp_path: Path, opened: ExitStack) -> None:
    restored = Restored(tmp_path, opened)
    stranger = opened.enter_context(APP.join(":memory:", restored.space.invite(), clock=restored.clock))
    add(restored.space, "since")
    exchange(restored.space, stranger)
    exchange(restored.space, restored.other)

    check_flagged(restored, expected=["before", "lost 1", "lost 2", "since"])


def test_two_copies_of_a_device_that_take_turns_share_one_history(
    tmp_path: Path, opened: ExitStack, relay: RelayThread
) -> None:
    restored = Restored(tmp_path, opened, relay)
    restored.space.close()
    copy_device(tmp_path / "a.db", tmp_path / "copy.db")
    a = opened.enter_context(APP.open(tmp_path / "a.db", clock=restored.clock))
    copy = opened.enter_context(APP.open(tmp_path / "copy.db", clock=restored.clock))
    for number in range(3):
        for name, space in (("a", a), ("copy", copy)):
            restored.clock.now_ms += MINUTE_MS
            add(space, f"{name} {number}")
            synced(space, relay)
    exchange(a, copy)

    made = [f"{name} {number}" for name in ("a", "copy") for number in range(3)]
    check_agreed(a, copy, expected=[*made[:3], "before", *made[3:], "lost 1", "lost 2"])


def test_what_a_copy_has_sealed_of_what_it_held_before_is_followed(tmp_path: Path, opened: ExitStack) -> None:
    path, copied = tmp_path / "a.db", tmp_path / "copy.db"
    with APP.open(path) as space:
        add(space, "before")
        other = opened.enter_context(APP.join(":memory:", space.invite()))
    copy_device(path, copied)
    a, copy = opened.enter_context(APP.open(path)), opened.enter_context(APP.open(copied))
    exchange(a, other)
    exchange(copy, other)
    add(copy, "since")
    exchange(copy, other)

    check_agreed(copy, other, expected=["before", "since"])
