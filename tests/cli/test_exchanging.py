"""`invite`, `join`, `sync`: two devices meet through a relay without a line of Python."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from driftlog import App
from driftlog.errors import DriftlogError
from driftlog.testing import RelayThread
from tests.cli.conftest import CommandLine, add

UNUSED = "ws://127.0.0.1:9"
"""Nothing listens on the port of the discard service."""


def test_invite_prints_the_link_alone_and_the_warning_beside_it(
    driftlog: CommandLine, spec: str, space_file: Path, app: App, tmp_path: Path
) -> None:
    outcome = driftlog("invite", spec, space_file)

    assert outcome.out.count("\n") == 1
    assert "member" in outcome.err
    assert driftlog("invite", spec, space_file, "--json").json == {"link": outcome.out.strip()}
    with app.open(space_file) as space, app.join(tmp_path / "b.db", outcome.out.strip()) as other:
        assert other.space_id == space.space_id


def test_a_device_joins_and_syncs(
    driftlog: CommandLine, spec: str, space_file: Path, app: App, tmp_path: Path, relay: RelayThread
) -> None:
    link = driftlog("invite", spec, space_file).out.strip()
    sent = driftlog("sync", spec, space_file, relay.url, "--once", "--json")
    assert sent.code == 0
    assert (sent.json["phase"], sent.json["envelopes_sent"], sent.json["events"]) == ("synced", 1, 2)

    joined = driftlog("join", spec, tmp_path / "b.db", link, "--sync", relay.url)

    assert joined.code == 0
    assert "received 1 envelope" in joined.err
    with app.open(space_file) as a, app.open(tmp_path / "b.db") as b:
        assert a.digest() == b.digest()
        assert a.status().pending == 0
    assert relay.url in driftlog("status", spec, space_file).out


def test_join_for_programs(
    driftlog: CommandLine, spec: str, space_file: Path, tmp_path: Path, relay: RelayThread
) -> None:
    link = driftlog("invite", spec, space_file).out.strip()
    path = tmp_path / "b.db"

    report = driftlog("join", spec, path, link, "--sync", relay.url, "--json").json

    assert report["path"] == str(path)
    assert report["sync"]["phase"] == "synced"
    assert driftlog("status", spec, path, "--json").json["device"] == report["device"]


def test_join_leaves_a_file_that_exists_as_it_is(driftlog: CommandLine, spec: str, space_file: Path) -> None:
    link = driftlog("invite", spec, space_file).out.strip()

    outcome = driftlog("join", spec, space_file, link)

    assert outcome.code == 1
    assert "exists already" in outcome.err
    assert driftlog("status", spec, space_file, "--json").json["events"] == 2


def test_join_refuses_what_is_no_link_and_creates_nothing(driftlog: CommandLine, spec: str, tmp_path: Path) -> None:
    outcome = driftlog("join", spec, tmp_path / "b.db", "https://example.org/")

    assert outcome.code == 1
    assert not (tmp_path / "b.db").exists()


def test_sync_once_gives_up_on_a_relay_that_is_not_there(driftlog: CommandLine, spec: str, space_file: Path) -> None:
    outcome = driftlog("sync", spec, space_file, UNUSED, "--once", "--patience", "1")

    assert outcome.code == 1
    assert "nothing answers at ws://127.0.0.1:9" in outcome.err.splitlines()[-1]
    assert "nothing is lost" in outcome.err


def test_sync_refuses_what_is_no_address(driftlog: CommandLine, spec: str, space_file: Path) -> None:
    outcome = driftlog("sync", spec, space_file, "https://example.org", "--once")

    assert outcome.code == 1
    assert "not a relay's address" in outcome.err


def test_sync_says_why_it_ended_by_itself(
    driftlog: CommandLine, spec: str, space_file: Path, relay: RelayThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise DriftlogError("the space has had enough")

    monkeypatch.setattr("driftlog.space.replica.SpaceReplica.greeting", fail)

    for once in (["--once"], []):
        outcome = driftlog("sync", spec, space_file, relay.url, *once)

        assert outcome.code == 1
        assert "the space has had enough" in outcome.err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_relay_and_sync_run_until_ctrl_c(driftlog: CommandLine, spec: str, space_file: Path, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "driftlog.cli.main"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    relay = subprocess.Popen(
        [*program, "relay", "--port", "0", "--db", "r.db", "--json"], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    )
    assert relay.stdout is not None
    url = next(
        word.rstrip(")").strip('("') for word in json.loads(relay.stdout.readline())["text"].split() if "ws://" in word
    )

    sync = subprocess.Popen(
        [*program, "sync", spec, str(space_file), url, "--json"], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert sync.stdout is not None
    while json.loads(sync.stdout.readline())["phase"] != "synced":
        pass
    for process in (sync, relay):
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)

    assert (sync.returncode, relay.returncode) == (0, 0)
    assert driftlog("status", spec, space_file, "--json").json["pending"] == 0


@pytest.mark.slow
def test_two_relays_cannot_share_a_port(driftlog: CommandLine, tmp_path: Path, relay: RelayThread) -> None:
    port = relay.url.rpartition(":")[2]

    outcome = driftlog("relay", "--port", port, "--db", tmp_path / "other.db")

    assert outcome.code == 1
    assert f"cannot listen on 127.0.0.1, port {port}" in outcome.err
    assert "give another --host or --port" in outcome.err


def test_what_was_appended_after_a_sync_goes_with_the_next(
    driftlog: CommandLine, spec: str, space_file: Path, app: App, relay: RelayThread
) -> None:
    driftlog("sync", spec, space_file, relay.url, "--once")
    add(app, space_file, "3")

    again = driftlog("sync", spec, space_file, relay.url, "--once", "--json").json

    # It may be sent its own first envelope once more, if it hung up before noting that it knows it.
    assert (again["envelopes_sent"], again["events"]) == (1, 3)
    with app.open(space_file) as space:
        assert space.status().pending == 0
