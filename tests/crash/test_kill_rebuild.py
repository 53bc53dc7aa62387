"""A device killed while it rebuilds: the old or the new tables are there, with the log that belongs to them (P33)."""

import random
import shutil
from pathlib import Path

import pytest

from driftlog import App, Space, State, Timestamp
from driftlog.testing import exchange
from tests.crash.checks import rows
from tests.crash.processes import Child, Children
from tests.crash.upgrading import EVENTS, NEW, OLD, Counted, version

ROUNDS = 14

pytestmark = pytest.mark.slow

Told = tuple[bytes, list[tuple[Timestamp, State, str | None]], bytes]
"""What a version makes of the log: the tables, what became of each event, and the tables at half of it."""


def old_file(directory: Path) -> Path:
    directory.mkdir()
    path = directory / "counts.db"
    with version(OLD).open(path, clock=lambda: 1_000) as space:
        space.execute_local("INSERT INTO note VALUES ('of this device')")
        for begin in range(0, EVENTS, 500):
            space.append(*[Counted(id=str(n % 1_000), n=n) for n in range(begin, begin + 500)])
    return path


def told(space: Space) -> Told:
    log = [(entry.timestamp, entry.state, entry.reason) for entry in space.log()]
    with space.at(log[len(log) // 2][0]) as past:
        return space.digest(), log, past.digest()


def told_by(app: App, path: Path) -> Told:
    with app.open(path) as space:
        return told(space)


def told_afresh(app: App, path: Path) -> Told:
    """Replay elsewhere all that the file's device has."""
    with version(OLD).open(path) as space, app.join(":memory:", space.invite()) as other:
        exchange(space, other)
        return told(other)


def copied(path: Path, directory: Path) -> Path:
    """Copy a closed space, its key with it."""
    directory.mkdir()
    for file in path.parent.iterdir():
        shutil.copy(file, directory / file.name)
    return directory / path.name


def test_killed_anywhere_in_a_rebuild_the_old_or_the_new_tables_are_there_whole(tmp_path: Path) -> None:
    kill_in_rebuild(tmp_path, 33, ROUNDS)


def kill_in_rebuild(folder: Path, seed: int, rounds: int) -> None:
    """Kill so many devices in a rebuild, each with a copy of the same file, and look at what is left."""
    rng = random.Random(seed)
    original = old_file(folder / "old")
    old, new = (told_afresh(version(factor), copied(original, folder / f"{factor}")) for factor in (OLD, NEW))
    assert old[0] != new[0]
    assert old[1] != new[1]
    found: list[bool] = []
    with Children("upgrading") as children:
        for number in range(rounds):
            path = copied(original, folder / f"round {number}")
            kill_within(children.next(), rng, path, number)

            is_new = has_new_tables(path)
            found.append(is_new)
            assert rows(path, "PRAGMA integrity_check") == [("ok",)]
            # Opening with the version that made them rebuilds nothing, so this is what the killed one left.
            assert told_by(version(NEW if is_new else OLD), path) == (new if is_new else old)
            # And whichever it was, the update comes through the next time.
            assert told_by(version(NEW), path) == new
    assert set(found) == {False, True}, "killed before the swap, and after it"


def kill_within(child: Child, rng: random.Random, path: Path, number: int) -> None:
    """Kill it at a place of the rebuild, each in turn: at its begin, in its midst, around the commit, after all."""
    places = (0, 1_000, 2_000, EVENTS, EVENTS, EVENTS, "open")
    place = places[number % len(places)]
    child.begin(path, number)
    while (line := child.line(f"that it has come to {place}")) not in (f"done {place}", str(place)):
        assert line.startswith("done")
    # The commit, with its sync to disk, takes a few milliseconds after the last event.
    child.kill(rng, 0.01 if place == EVENTS else 0.004)


def has_new_tables(path: Path) -> bool:
    """Look with SQLite alone: all that the one version declares is there, and nothing of the other."""
    listed = rows(path, "SELECT name FROM sqlite_schema WHERE sql NOT NULL AND name NOT LIKE 'driftlog_%'")
    names = {name for (name,) in listed}
    assert names in ({"note", "count"}, {"note", "count", "also", "count_n"})
    assert rows(path, "SELECT * FROM note") == [("of this device",)]
    return "also" in names
