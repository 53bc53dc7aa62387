"""`driftlog relay --verify`: what is wrong with a relay's file, for people and for programs."""

from contextlib import closing
from pathlib import Path

import apsw
import pytest

from driftlog.relay.store import Job
from driftlog.relay.writing import Writing
from tests.cli.conftest import CommandLine
from tests.protocol.fakes import GENESIS, chain, keys_of


def test_a_relays_file_is_verified(driftlog: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    with closing(Writing(str(path), birthday=b"b" * 16)) as writing:
        writing.commit([Job(GENESIS.space, GENESIS.encode(), tuple(chain(keys_of(1), 3)))])

    sound = driftlog("relay", "--db", path, "--verify")
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("UPDATE space SET bytes = 1")
    damaged = driftlog("relay", "--db", path, "--verify")
    told = driftlog("relay", "--db", path, "--verify", "--json")

    assert (sound.code, sound.out) == (0, "nothing is damaged\n")
    assert damaged.code == 1
    assert "and noted are 1" in damaged.out
    assert damaged.out.splitlines()[-1].startswith("Stop the relay, move the file away with its -wal, and start")
    assert told.code == 1
    assert len(told.json) == 1


@pytest.mark.parametrize("statement", ["", "PRAGMA journal_mode = wal"])
def test_a_file_that_is_still_to_become_a_relays_is_not_damaged(
    driftlog: CommandLine, tmp_path: Path, statement: str
) -> None:
    path = tmp_path / "relay.db"
    path.touch()
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(statement)

    told = driftlog("relay", "--db", path, "--verify")
    as_json = driftlog("relay", "--db", path, "--verify", "--json")

    assert (told.code, told.out) == (0, "it holds nothing yet\n")
    assert (as_json.code, as_json.json) == (0, [])


def test_what_is_no_relays_file_is_not_verified(driftlog: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"not a database at all" * 100)

    assert "is not there" in driftlog("relay", "--db", tmp_path / "nothing", "--verify").err
    assert "not an SQLite database" in driftlog("relay", "--db", tmp_path / "other", "--verify").err
    assert not (tmp_path / "nothing").exists()
