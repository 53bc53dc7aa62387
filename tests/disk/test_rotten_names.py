"""Rot in a name: of a fact, a key, an app or a local table. A repair gives it its own again, and nothing is lost with it."""

from pathlib import Path
from typing import get_args

import apsw
import msgspec
import pytest

from driftlog import App
from driftlog._store.meta import Fact
from driftlog.errors import Corrupt, OtherApp
from driftlog.testing.disk import write_image
from tests.disk.rot import APP, Base, edit, opened
from tests.disk.world import NAME
from tests.todo_app import Clock, todo_app

pytestmark = pytest.mark.slow


def test_an_epochs_key_whose_name_was_damaged_gets_it_back(base: Base, tmp_path: Path) -> None:
    write_image(base.closed, tmp_path)
    connection = apsw.Connection(str(tmp_path / NAME))
    name = connection.execute("SELECT id FROM driftlog_epoch").get
    connection.execute("UPDATE driftlog_epoch SET id = ?", (bytes([name[0] ^ 1]) + name[1:],))
    connection.close()
    with pytest.raises(Corrupt, match="lacks the key of its epoch"):
        opened(tmp_path)

    findings = APP.repair(tmp_path / NAME, clock=Clock())

    assert [finding.problem for finding in findings] == ["the epoch's key has another epoch's name"]
    with opened(tmp_path) as space:
        assert space.verify() == []
    assert APP.repair(tmp_path / NAME, clock=Clock()) == []


def test_an_apps_name_that_was_damaged_is_written_again(base: Base, tmp_path: Path) -> None:
    _rename_app(base, tmp_path, APP.name.encode()[:-1] + b"\xe4")
    with pytest.raises(Corrupt, match="can be no app's name; run repair on it"):
        opened(tmp_path)

    findings = APP.repair(tmp_path / NAME, clock=Clock())

    assert [finding.problem for finding in findings] == ["what should be the app's name is none"]
    with opened(tmp_path) as space:
        assert space.verify() == []
    assert APP.repair(tmp_path / NAME, clock=Clock()) == []


@pytest.mark.parametrize("fact", get_args(Fact))
def test_a_fact_whose_name_was_damaged_gets_it_back(base: Base, tmp_path: Path, fact: str) -> None:
    write_image(base.closed, tmp_path)
    damaged = bytes([fact.encode()[0] ^ 0x80]) + fact.encode()[1:]
    connection = apsw.Connection(str(tmp_path / NAME))
    held = connection.execute("SELECT value FROM driftlog_meta WHERE key = ?", (fact,)).get
    connection.execute("UPDATE driftlog_meta SET key = CAST(? AS TEXT) WHERE key = ?", (damaged, fact))
    assert connection.changes() == (held is not None)
    if held is None:
        # One that this device has not needed yet.
        held = b"\x80"
        connection.execute("INSERT INTO driftlog_meta VALUES (CAST(? AS TEXT), ?)", (damaged, held))
    connection.close()
    with pytest.raises(Corrupt, match=f"a fact called .*{fact[1:]}.*run repair on it"):
        opened(tmp_path)

    findings = APP.repair(tmp_path / NAME, clock=Clock())

    assert f"repair calls it {fact} again" in {finding.remedy for finding in findings}
    connection = apsw.Connection(str(tmp_path / NAME))
    there = connection.execute("SELECT value FROM driftlog_meta WHERE key = ?", (fact,)).get
    connection.close()
    assert there == held


@pytest.mark.parametrize(
    "value",
    [msgspec.msgpack.encode(["drafu"]), b"\x91\x05", b"\xc1", b"\x91\xa5draf\xf4"],
    ids=["another name", "a number", "nothing", "no text"],
)
@pytest.mark.parametrize("app", [APP, todo_app()], ids=["declared", "declared no more"])
def test_a_local_table_whose_name_was_damaged_keeps_its_rows(
    base: Base, tmp_path: Path, value: bytes, app: App
) -> None:
    write_image(base.closed, tmp_path)
    with opened(tmp_path) as space:
        space.execute_local("INSERT OR REPLACE INTO draft VALUES ('9', 'half')")
    edit(tmp_path, "UPDATE driftlog_meta SET value = ? WHERE key = 'local_tables'", (value,))
    with pytest.raises(Corrupt, match="run repair on"):
        app.open(tmp_path / NAME, clock=Clock())

    findings = app.repair(tmp_path / NAME, clock=Clock())

    assert "fact" in {finding.part for finding in findings}
    with app.open(tmp_path / NAME, clock=Clock()) as space:
        assert space.query("SELECT text FROM draft WHERE id = '9'") == [("half",)]
        assert space.verify() == []
        space.rebuild()
        assert space.query("SELECT text FROM draft WHERE id = '9'") == [("half",)]


def test_a_repair_by_another_app_is_refused(base: Base, tmp_path: Path) -> None:
    _rename_app(base, tmp_path, b"org.example.another")

    with pytest.raises(OtherApp, match="repair it with that app"):
        APP.repair(tmp_path / NAME, clock=Clock())


def _rename_app(base: Base, folder: Path, name: bytes) -> None:
    write_image(base.closed, folder)
    edit(folder, "UPDATE driftlog_meta SET value = ? WHERE key = 'app'", (name,))


def test_a_fact_that_has_lost_its_name_altogether_is_found_and_mended(base: Base, tmp_path: Path) -> None:
    # A record of two columns begins with the size of its header, and says: a text of 3 bytes, a blob of so many. Now: NULL,
    # a blob of 3 more.
    name = APP.name.encode()
    record = b"\x03%c%capp%s"
    image = dict(base.closed)
    image[NAME] = image[NAME].replace(
        record % (13 + 2 * 3, 12 + 2 * len(name), name), record % (0, 12 + 2 * (3 + len(name)), name)
    )
    assert image[NAME] != base.closed[NAME]
    write_image(image, tmp_path)
    with pytest.raises(Corrupt, match="a fact called b''"):
        opened(tmp_path)

    assert "a fact has a name that is none" in [
        finding.problem for finding in APP.repair(tmp_path / NAME, clock=Clock())
    ]
    with opened(tmp_path) as space:
        assert space.verify() == []
    assert APP.repair(tmp_path / NAME, clock=Clock()) == []
