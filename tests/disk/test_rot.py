"""Rot: flipped bits, swapped pages, tables edited by hand. What harms is found, and a repair mends it with others' help."""

from collections import Counter
from pathlib import Path
from typing import get_args

import apsw
import msgspec
import pytest

from driftlog import App, VersionVector
from driftlog._core.ids import DeviceKey
from driftlog._store.meta import Fact
from driftlog.errors import Corrupt, MissingDeviceKey, OtherApp
from driftlog.testing import exchange
from driftlog.testing.disk import write_image
from tests.disk.rot import APP, DB, Base, harmed, judge_flip, make_base, mend, opened, prepare
from tests.disk.scenarios import added
from tests.disk.world import NAME, workplace
from tests.todo_app import Clock, todo_app

FLIPS = 300
BLOCKS = 6

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base() -> Base:
    return prepare(make_base(1))


@pytest.mark.parametrize("block", range(BLOCKS))
def test_a_flipped_bit_is_refused_or_found_if_it_harms_and_mended(base: Base, block: int) -> None:
    count: Counter[str] = Counter()
    size = FLIPS // BLOCKS
    for seed in range(block * size, (block + 1) * size):
        count += judge_flip(base, seed)

    assert count["harmful"] > size // 10
    assert count["beyond repair"] <= 2


def test_a_page_in_the_place_of_another_is_found_if_it_harms_and_mended(base: Base) -> None:
    size = int.from_bytes(base.closed[DB][16:18], "big")
    content = base.closed[DB]
    pages = [content[at : at + size] for at in range(0, len(content), size)]
    harmful = 0
    for number in range(1, len(pages) - 1):
        swapped = [*pages]
        swapped[number], swapped[number + 1] = swapped[number + 1], swapped[number]
        image = {**base.closed, DB: b"".join(swapped)}
        with workplace() as directory:
            write_image(image, directory)
            findings, harm = harmed(base, directory)
            assert findings or not harm, f"page {number}: {harm}"
            harmful += bool(harm)
        with workplace() as directory:
            write_image(image, directory)
            mend(base, directory, number)
    assert harmful > len(pages) // 2


def test_undo_data_that_cannot_be_read_is_refused_and_mended(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with APP.open(path, clock=Clock()) as space:
        [first] = space.append(added("1"))
        space.append(added("2"))
    with apsw.Connection(str(path)) as connection:
        connection.execute("UPDATE driftlog_log SET undo = ?", (b"\x92\x90\x91\x90",))
    connection.close()

    with APP.open(path, clock=Clock()) as space, pytest.raises(Corrupt, match="undo data in the log is damaged"):
        space.undo(first)
    APP.repair(path, clock=Clock())

    with APP.open(path, clock=Clock()) as space:
        space.undo(first)
        assert [row.id for row in space.query("SELECT id FROM todo")] == ["2"]


EDITS = {
    "a row changed": ("UPDATE todo SET text = 'edited' WHERE id = '1'", "view"),
    "a row deleted": ("DELETE FROM todo WHERE id = '1'", "view"),
    "a row added": ("INSERT INTO todo VALUES ('nobody', 'x', 0)", "view"),
    "an event's payload changed": (
        (
            "UPDATE driftlog_log SET payload = CAST(replace(payload, 'theirs-2', 'theirs-9') AS BLOB)"
            " WHERE instr(payload, CAST('theirs-2' AS BLOB))"
        ),
        "event",
    ),
    "an event deleted": ("DELETE FROM driftlog_log WHERE hlc = (SELECT min(hlc) FROM driftlog_log)", "event"),
    "an event added": (
        (
            "INSERT INTO driftlog_log (hlc, device, hash, wall_ms, name, version, payload, state)"
            " SELECT hlc - 1, device, hash, wall_ms, name, version, payload, 0 FROM driftlog_log ORDER BY hlc LIMIT 1"
        ),
        "event",
    ),
    "an event called rejected": (
        "UPDATE driftlog_log SET state = 1, reason = 'no' WHERE hlc = (SELECT min(hlc) FROM driftlog_log)",
        "outcome",
    ),
    "undo data gone": ("UPDATE driftlog_log SET undo = NULL", "outcome"),
    "touch data gone": ("UPDATE driftlog_log SET touch = NULL", "outcome"),
    "an envelope deleted": ("DELETE FROM driftlog_envelope WHERE id = 1", "chain"),
    "an envelope altered": ("UPDATE driftlog_envelope SET raw = zeroblob(length(raw)) WHERE id = 1", "envelope"),
    "a head gone": ("DELETE FROM driftlog_head", "chain"),
    "a head moved": ("UPDATE driftlog_head SET batch_seq = batch_seq + 1", "chain"),
    "this device's number forgotten": ("DELETE FROM driftlog_meta WHERE key = 'own_branch'", "fact"),
    "an index dropped": ("DROP INDEX driftlog_log_state", "schema"),
}


@pytest.mark.parametrize(("sql", "part"), EDITS.values(), ids=EDITS)
def test_what_was_edited_behind_the_engines_back_is_found_and_mended(
    base: Base, tmp_path: Path, sql: str, part: str
) -> None:
    write_image(base.closed, tmp_path)
    connection = apsw.Connection(str(tmp_path / NAME))
    connection.execute(sql)
    assert connection.changes() or sql.startswith("DROP")
    connection.close()

    with opened(tmp_path) as space:
        assert part in {finding.part for finding in space.verify()}
    mend(base, tmp_path, 0)


def test_a_sound_file_is_not_written_by_a_repair(base: Base, tmp_path: Path) -> None:
    write_image(base.closed, tmp_path)

    assert APP.repair(tmp_path / NAME, clock=Clock()) == []

    assert (tmp_path / NAME).read_bytes() == base.closed[DB]


def test_a_device_that_lost_an_own_envelope_seals_nothing_until_it_is_back(base: Base, tmp_path: Path) -> None:
    write_image(base.closed, tmp_path)
    with opened(tmp_path) as space:
        device = space.device
    connection = apsw.Connection(str(tmp_path / NAME))
    connection.execute("DELETE FROM driftlog_envelope WHERE device = ? AND batch_seq = 1", (device,))
    connection.close()
    APP.repair(tmp_path / NAME, clock=Clock())

    with opened(tmp_path) as space, APP.join(":memory:", base.link, clock=Clock()) as other:
        space.append(added("meanwhile"))
        assert space.seal() == 0
        assert "some are not here" in space.verify()[0].problem
        other.receive(base.envelopes)
        exchange(space, other)

        assert space.verify() == []
        assert space.status().pending > 0
        assert other.query("SELECT 1 FROM todo WHERE id = 'meanwhile'")
        assert not any(each.is_forked for each in other.status().devices)


@pytest.mark.parametrize("is_whole_first", [True, False])
def test_what_was_made_while_an_own_envelope_was_missing_is_sealed_before_another_history_of_the_key_is_followed(
    base: Base, tmp_path: Path, is_whole_first: bool
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        write_image(base.closed, folder)
    with opened(there) as copied:
        copied.seal()
        lost = list(copied.envelopes_for(VersionVector()))
        copied.append(added("there"))
        assert copied.seal() == 1
        later = list(copied.envelopes_for(copied.version_vector())) or list(copied.envelopes_for(VersionVector()))
    with opened(here) as space:
        device = space.device
    connection = apsw.Connection(str(here / NAME))
    connection.execute("DELETE FROM driftlog_envelope WHERE device = ? AND batch_seq = 1", (device,))
    connection.close()
    APP.repair(here / NAME, clock=Clock())

    with opened(here) as space, APP.join(":memory:", base.link, clock=Clock()) as other:
        space.append(added("here"))
        assert space.seal() == 0
        for envelopes in (lost, later) if is_whole_first else (later, lost):
            space.receive(envelopes)
        space.seal()
        exchange(space, other)

        assert {"here", "there"} <= {row.id for row in other.query("SELECT id FROM todo")}
        assert space.digest() == other.digest()
        assert space.verify() == []
        assert any(each.is_forked for each in other.status().devices)


def test_an_envelope_that_comes_again_where_its_place_has_rotted_is_refused_in_words_until_it_is_mended(
    base: Base, tmp_path: Path
) -> None:
    write_image(base.closed, tmp_path)
    with opened(tmp_path) as space:
        space.seal()
        envelopes = list(space.envelopes_for(VersionVector()))
    connection = apsw.Connection(str(tmp_path / NAME))
    connection.execute(
        "UPDATE driftlog_envelope SET hash = zeroblob(32) WHERE id = (SELECT max(id) FROM driftlog_envelope)"
    )
    connection.close()

    with opened(tmp_path) as space, pytest.raises(Corrupt, match=r"an envelope is not where it was .*run repair on it"):
        space.receive(envelopes)
    APP.repair(tmp_path / NAME, clock=Clock())

    with opened(tmp_path) as space:
        space.receive(envelopes)
        assert space.verify() == []


@pytest.mark.parametrize("byte", [7, 8, 39, 45, 47], ids=["number", "hash", "hash's end", "stamp", "stamp's end"])
def test_where_the_end_of_the_own_chain_is_noted_a_bit_may_rot_and_nothing_that_waits_to_be_sealed_is_lost(
    base: Base, tmp_path: Path, byte: int
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        write_image(base.closed, folder)
    with opened(there) as copied:
        for number in range(3):
            copied.append(added(f"there-{number}"))
            copied.seal()
        elsewhere = list(copied.envelopes_for(VersionVector()))
    with opened(here) as space:
        space.seal()
        space.append(added("here"))
    connection = apsw.Connection(str(here / NAME))
    value = bytearray(connection.execute("SELECT value FROM driftlog_meta WHERE key = 'own_branch'").get)
    value[byte] ^= 1
    connection.execute("UPDATE driftlog_meta SET value = ? WHERE key = 'own_branch'", (bytes(value),))
    connection.close()
    with opened(here) as space:
        space.receive(elsewhere)
        assert "fact" in {finding.part for finding in space.verify()}

    APP.repair(here / NAME, clock=Clock())

    with opened(here) as space, APP.join(":memory:", base.link, clock=Clock()) as other:
        assert space.verify() == []
        assert space.seal() == 1
        other.receive(elsewhere)
        exchange(space, other)
        assert {"here", "there-2"} <= {row.id for row in other.query("SELECT id FROM todo")}
        assert space.digest() == other.digest()
        assert space.verify() == other.verify() == []


def test_what_came_of_another_history_while_an_own_envelope_was_missing_is_not_sealed_again(
    base: Base, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        write_image(base.closed, folder)
    with opened(here) as space:
        space.append(added("sealed"))
        space.seal()
        device, own = space.device, list(space.envelopes_for(VersionVector()))
        last = max(head.batch_seq for head in space.version_vector()[DeviceKey(device)])
    with opened(there) as copied:
        for number in range(3):
            copied.append(added(f"there-{number}"))
            copied.seal()
        elsewhere = list(copied.envelopes_for(VersionVector()))
    connection = apsw.Connection(str(here / NAME))
    connection.execute("DELETE FROM driftlog_envelope WHERE device = ? AND batch_seq = ?", (device, last))
    connection.close()
    APP.repair(here / NAME, clock=Clock())

    with opened(here) as space, APP.join(":memory:", base.link, clock=Clock()) as other:
        # With stamps that the other history has given, too, because its clock stood at the same.
        space.append(added("before"))
        space.receive(elsewhere)
        space.append(added("after"))
        known = {*elsewhere, *own}
        space.receive(own)
        space.seal()
        made = [raw for raw in space.envelopes_for(VersionVector()) if raw not in known]
        batches = [space._engine.exchange.open(raw)[1] for raw in made]
        assert sum(len(batch.records) for batch in batches) == 2
        exchange(space, other)

        ids = {row.id for row in other.query("SELECT id FROM todo")}
        assert {"sealed", "before", "after", "there-0", "there-1", "there-2"} <= ids
        assert space.digest() == other.digest()
        assert space.verify() == other.verify() == []


def test_what_a_lost_own_envelope_held_is_kept_where_the_key_bears_a_longer_history_elsewhere(
    base: Base, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        write_image(base.closed, folder)
    with opened(there) as copied:
        for number in range(3):
            copied.append(added(f"there-{number}"))
            assert copied.seal() == 1
        elsewhere = list(copied.envelopes_for(VersionVector()))
    with opened(here) as space:
        space.seal()
        before = len(list(space.log()))
        space.append(added("here"))
        assert space.seal() == 1
        device = space.device
        last = max(head.batch_seq for head in space.version_vector()[DeviceKey(device)])
    connection = apsw.Connection(str(here / NAME))
    connection.execute("DELETE FROM driftlog_envelope WHERE device = ? AND batch_seq = ?", (device, last))
    connection.close()
    APP.repair(here / NAME, clock=Clock())
    with opened(here) as space:
        space.receive(elsewhere)
        [finding, *_] = space.verify()
        assert "some are not here" in finding.problem

    APP.repair(here / NAME, clock=Clock())

    with opened(here) as space:
        assert len(list(space.log())) > before
        assert {"here", "there-2"} <= {row.id for row in space.query("SELECT id FROM todo")}
        assert space.seal() == 0


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
    connection = apsw.Connection(str(tmp_path / NAME))
    connection.execute("UPDATE driftlog_meta SET value = ? WHERE key = 'local_tables'", (value,))
    connection.close()
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
    connection = apsw.Connection(str(folder / NAME))
    connection.execute("UPDATE driftlog_meta SET value = ? WHERE key = 'app'", (name,))
    connection.close()


def test_a_repair_under_another_devices_key_is_refused(base: Base, tmp_path: Path) -> None:
    write_image(base.closed, tmp_path)
    with APP.join(tmp_path / "other.db", base.link):
        pass
    (tmp_path / f"{NAME}-device").write_bytes((tmp_path / "other.db-device").read_bytes())

    with pytest.raises(MissingDeviceKey, match="of another device; put back"):
        APP.repair(tmp_path / NAME)


def test_a_file_whose_header_is_gone_is_replaced_and_kept(base: Base, tmp_path: Path) -> None:
    write_image({**base.closed, DB: bytes(100) + base.closed[DB][100:]}, tmp_path)

    assert mend(base, tmp_path, 0) == "mended"

    assert (tmp_path / f"{NAME}-damaged").exists()


def test_a_space_in_memory_and_one_read_by_others_can_be_verified(tmp_path: Path) -> None:
    with APP.open(":memory:") as space:
        space.append(added(1))
        assert space.verify() == []
        assert list(space.envelopes_for(VersionVector()))
        assert space.verify() == []
