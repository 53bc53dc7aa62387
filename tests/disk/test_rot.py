"""Rot: flipped bits, swapped pages, tables edited by hand. What harms is found, and a repair mends it with others' help."""

from collections import Counter
from pathlib import Path

import pytest

from driftlog import VersionVector
from driftlog.errors import Corrupt, MissingDeviceKey
from driftlog.testing.disk import write_image
from tests.disk.rot import APP, DB, Base, edit, harmed, judge_flip, mend, opened
from tests.disk.scenarios import added
from tests.disk.world import NAME, workplace
from tests.todo_app import Clock

FLIPS = 300
BLOCKS = 6

pytestmark = pytest.mark.slow


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
    edit(tmp_path, "UPDATE driftlog_log SET undo = ?", (b"\x92\x90\x91\x90",))

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
    edit(tmp_path, sql)

    with opened(tmp_path) as space:
        assert part in {finding.part for finding in space.verify()}
    mend(base, tmp_path, 0)


def test_a_sound_file_is_not_written_by_a_repair(base: Base, tmp_path: Path) -> None:
    write_image(base.closed, tmp_path)

    assert APP.repair(tmp_path / NAME, clock=Clock()) == []

    assert (tmp_path / NAME).read_bytes() == base.closed[DB]


def test_an_envelope_that_comes_again_where_its_place_has_rotted_is_refused_in_words_until_it_is_mended(
    base: Base, tmp_path: Path
) -> None:
    write_image(base.closed, tmp_path)
    with opened(tmp_path) as space:
        space.seal()
        envelopes = list(space.envelopes_for(VersionVector()))
    edit(
        tmp_path, "UPDATE driftlog_envelope SET hash = zeroblob(32) WHERE id = (SELECT max(id) FROM driftlog_envelope)"
    )

    with opened(tmp_path) as space, pytest.raises(Corrupt, match=r"an envelope is not where it was .*run repair on it"):
        space.receive(envelopes)
    APP.repair(tmp_path / NAME, clock=Clock())

    with opened(tmp_path) as space:
        space.receive(envelopes)
        assert space.verify() == []


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
