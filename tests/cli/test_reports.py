"""What `status`, `log` and `rebuild` print, for people and for programs."""

import sys
from pathlib import Path

import apsw
import pytest

from driftlog import App, Event
from driftlog.testing import exchange
from tests.cli.conftest import CommandLine, add


def test_status_says_where_the_device_stands(driftlog: CommandLine, spec: str, space_file: Path, app: App) -> None:
    outcome = driftlog("status", spec, space_file)

    assert outcome.code == 0
    assert "a space of org.example.todos" in outcome.out
    assert "2 events" in outcome.out
    assert "2 pending" in outcome.out
    assert "this one" in outcome.out
    assert "no relay yet" in outcome.out
    with app.open(space_file) as space:
        assert space.device[:4].hex() in outcome.out


def test_status_for_programs(driftlog: CommandLine, spec: str, space_file: Path, app: App) -> None:
    report = driftlog("status", spec, space_file, "--json").json

    with app.open(space_file) as space:
        assert report["device"] == space.device.hex()
        assert report["space"] == space.space_id.hex()
    assert (report["events"], report["pending"], report["rejected"]) == (2, 2, 0)
    assert [device["is_self"] for device in report["devices"]] == [True]
    assert report["relays"] == []


def test_the_log_is_read_page_by_page_with_the_stamps_it_prints(
    driftlog: CommandLine, spec: str, space_file: Path
) -> None:
    first = driftlog("log", spec, space_file, "--limit", 1)
    assert "todo.added(id='1', text='text of 1')" in first.out
    stamp = first.err.removeprefix("there is more: --after ").strip()

    second = driftlog("log", spec, space_file, "--limit", 1, "--after", stamp)
    assert "todo.added(id='2', text='text of 2')" in second.out
    assert second.err == ""

    third = driftlog("log", spec, space_file, "--after", second.out.split()[0])
    assert (third.code, third.out) == (0, "")


def test_a_stamp_may_leave_out_the_device_or_be_the_whole_integer(
    driftlog: CommandLine, spec: str, space_file: Path
) -> None:
    [first, second] = driftlog("log", spec, space_file, "--json").json["entries"]

    short = first["timestamp"]["text"].partition("@")[0]
    for after in (short, first["timestamp"]["hlc"]):
        assert driftlog("log", spec, space_file, "--json", "--after", after).json["entries"] == [second]


def test_the_log_ends_before_a_stamp_that_it_has_printed(driftlog: CommandLine, spec: str, space_file: Path) -> None:
    [first, second] = driftlog("log", spec, space_file, "--json").json["entries"]

    for before in (second["timestamp"]["text"], second["timestamp"]["hlc"]):
        assert driftlog("log", spec, space_file, "--json", "--before", before).json["entries"] == [first]
    between = driftlog("log", spec, space_file, "--json", "--after", first["timestamp"]["text"], "--before", before)
    assert between.json["entries"] == []


def test_the_log_for_programs(driftlog: CommandLine, spec: str, space_file: Path) -> None:
    page = driftlog("log", spec, space_file, "--json", "--limit", 1).json

    [entry] = page["entries"]
    assert entry["event"] == {"id": "1", "text": "text of 1"}
    assert (entry["name"], entry["version"], entry["state"], entry["reason"]) == ("todo.added", 1, "applied", None)
    assert page["next"] == entry["timestamp"]["text"]
    assert driftlog("log", spec, space_file, "--json", "--after", page["next"]).json["next"] is None


def test_the_log_says_what_was_rejected_and_obeys_no_escape_codes_in_it(
    driftlog: CommandLine, spec: str, app: App, tmp_path: Path
) -> None:
    event_type = sys.modules["todos"].TodoAdded
    with app.open(tmp_path / "a.db") as a, app.join(tmp_path / "b.db", a.invite()) as b:
        a.append(event_type(id="1", text="mine"))
        b.append(event_type(id="1", text="\x1b[2Jyours"))
        a.receive(list(b.envelopes_for(a.version_vector())))

    outcome = driftlog("log", spec, tmp_path / "a.db")

    assert "rejected: 1 is taken by \\x1b[31mred" in outcome.out
    assert "\\x1b[2Jyours" in outcome.out
    assert "\x1b" not in outcome.out


def test_rebuild_replays_the_log_and_says_that_nothing_was_wrong(
    driftlog: CommandLine, spec: str, space_file: Path, app: App
) -> None:
    with app.open(space_file) as space:
        digest = space.digest().hex()

    for_a_person = driftlog("rebuild", spec, space_file)
    for_a_program = driftlog("rebuild", spec, space_file, "--json").json

    assert for_a_person.code == 0
    assert "2 events replayed" in for_a_person.out
    assert "as they were" in for_a_person.out
    assert (for_a_program["replayed"], for_a_program["digest"]) == (2, digest)
    assert for_a_program["was_different"] is False


def test_rebuild_says_that_the_tables_were_wrong_and_mends_them(
    driftlog: CommandLine, spec: str, space_file: Path, app: App
) -> None:
    rewrite(space_file, "UPDATE todo SET text = 'behind the engine''s back'")

    outcome = driftlog("rebuild", spec, space_file)

    assert outcome.code == 0
    assert "are mended" in outcome.out
    with app.open(space_file) as space:
        assert [row.text for row in space.query("SELECT text FROM todo ORDER BY id")] == ["text of 1", "text of 2"]


def test_rebuild_tells_a_terminal_how_far_it_is(
    driftlog: CommandLine, spec: str, space_file: Path, monkeypatch: pytest.MonkeyPatch, app: App
) -> None:
    add(app, space_file, *(str(number) for number in range(3, 1_003)))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")

    outcome = driftlog("rebuild", spec, space_file)

    assert outcome.code == 0
    assert "1,002 events replayed" in outcome.out
    assert "replaying" in outcome.err
    assert "/1002" in outcome.err


def test_rebuild_with_a_changed_app_says_so_and_does_it_once(
    driftlog: CommandLine, spec: str, space_file: Path, app: App
) -> None:
    with app.open(space_file) as space:
        digest = space.digest().hex()
    rewrite_the_view(space_file, "another version")
    for_a_program = driftlog("rebuild", spec, space_file, "--json").json
    rewrite_the_view(space_file, "another version")
    for_a_person = driftlog("rebuild", spec, space_file)

    assert (for_a_program["replayed"], for_a_program["digest"]) == (2, digest)
    assert (for_a_program["was_outdated"], for_a_program["was_different"]) == (True, None)
    assert "2 events replayed" in for_a_person.out
    assert "another version of the app had made the tables" in for_a_person.out
    assert driftlog("rebuild", spec, space_file, "--json").json["was_outdated"] is False


def rewrite_the_view(path: Path, fingerprint: str) -> None:
    """Let the file say that another version of the app has made its tables."""
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE driftlog_meta SET value = ? WHERE key = 'view'", (fingerprint.encode(),))
    connection.close()


def test_status_names_the_critical_types_that_the_app_does_not_know(
    driftlog: CommandLine, spec: str, app: App, tmp_path: Path
) -> None:
    class LimitLowered(Event, name="limit.lowered", critical=True):
        limit: int

    newer = App(app.name, tables="CREATE TABLE x (id TEXT PRIMARY KEY) STRICT")
    newer.on(LimitLowered)(lambda tx, event: tx.execute("INSERT INTO x VALUES (?)", (str(event.limit),)))
    with newer.open(tmp_path / "a.db") as space:
        space.append(LimitLowered(limit=1))

    assert "nothing can be appended here until the app is updated: it does not know limit.lowered version 1" in (
        driftlog("status", spec, tmp_path / "a.db").out
    )
    assert driftlog("status", spec, tmp_path / "a.db", "--json").json["needs_upgrade"] == [["limit.lowered", 1]]


def test_status_says_with_whom_the_tables_were_compared_and_what_came_of_it(
    driftlog: CommandLine, spec: str, app: App, space_file: Path, tmp_path: Path
) -> None:
    with app.open(space_file) as a, app.join(tmp_path / "b.db", a.invite()) as b:
        exchange(a, b)
        b.state_digest()
        exchange(a, b)
        a.compare_digests()
        short = b.device[:4].hex()
        assert "same tables (" in driftlog("status", spec, space_file).out
        [compared] = [
            device["compared"]
            for device in driftlog("status", spec, space_file, "--json").json["devices"]
            if not device["is_self"]
        ]
        assert (compared["agreement"], compared["device"]) == ("equal", b.device.hex())

        for seconds, line in ((0, "also after a rebuild here"), (1, "driftlog rebuild makes those here anew")):
            add(app, tmp_path / "b.db", f"more {seconds}")
            rewrite(tmp_path / "b.db", f"UPDATE todo SET text = 'edited {seconds}'")
            b.state_digest()
            exchange(a, b)
            a.compare_digests()
            outcome = driftlog("status", spec, space_file)
            assert f"the tables differ from those of {short}, which holds the same events" in outcome.out
            assert line in outcome.out
            assert "other tables (" in outcome.out

    rewrite(space_file, "UPDATE todo SET text = 'edited'")
    with app.open(tmp_path / "b.db") as b:
        b.rebuild()
        b.state_digest()
        with app.open(space_file, clock=lambda: 1 << 45) as a:
            exchange(a, b)
            a.compare_digests()
    assert "tables here were wrong, and were rebuilt (" in driftlog("status", spec, space_file).out


def rewrite(path: Path, sql: str) -> None:
    """Edit a file behind the engine's back."""
    connection = apsw.Connection(str(path))
    connection.execute(sql)
    connection.close()


def test_verify_says_what_was_changed_behind_the_engines_back_and_repair_mends_it(
    driftlog: CommandLine, spec: str, space_file: Path
) -> None:
    sound = driftlog("verify", spec, space_file)
    rewrite(space_file, "UPDATE todo SET text = 'behind the engine''s back'")

    found = driftlog("verify", spec, space_file)
    for_a_program = driftlog("verify", spec, space_file, "--json")
    repaired = driftlog("repair", spec, space_file)

    assert (sound.code, sound.out) == (0, "nothing is damaged\n")
    assert found.code == for_a_program.code == 1
    assert "view: a row of the table todo is not what the log says: 2 are wrong or too many, 2 missing" in found.out
    assert [finding["part"] for finding in for_a_program.json] == ["view"]
    assert repaired.code == 0
    assert "repaired; sync now" in repaired.out
    assert driftlog("verify", spec, space_file).code == 0
    assert "left as it is" in driftlog("repair", spec, space_file).out
