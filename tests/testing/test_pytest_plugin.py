"""The fixtures that pytest finds by itself: what they give, what they say, and that they cost nothing unasked."""

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]

APP = """
from driftlog import App, Event

app = App("org.example.notes", tables="CREATE TABLE note (id TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT")

class NoteAdded(Event):
    id: str
    text: str

@app.on(NoteAdded)
def note_added(tx, event):
    tx.execute("INSERT INTO note VALUES (?, ?)", (event.id, event.text))
"""


@pytest.mark.slow
def test_devices_of_a_fleet_meet_are_closed_and_described_when_a_test_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        notes=APP,
        test_notes="""
        from notes import NoteAdded, app

        kept = []

        def test_devices_that_meet_agree(driftlog_fleet):
            ann, bob = fleet = driftlog_fleet(app)
            kept.append(ann)
            ann.append(NoteAdded(id="1", text="milk"))
            fleet.meet()
            assert bob.query("SELECT text FROM note") == [("milk",)]
            fleet.assert_agreement()

        def test_they_were_closed():
            try:
                kept[0].status()
            except Exception as error:
                assert "closed" in str(error)
            else:
                assert False

        def test_that_fails(driftlog_fleet):
            ann, bob = driftlog_fleet(app)
            ann.append(NoteAdded(id="1", text="milk"))
            assert bob.query("SELECT text FROM note") == [("milk",)]

        def test_that_fails_without_devices():
            assert False
        """,
    )

    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")

    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*driftlog fleet*",
            "A: 1 event, 0 rejected, 0 held",
            "B: 0 events*",
            "B lacks 1 event of A's, *NoteAdded(id='1', *",
        ]
    )
    assert result.stdout.str().count("driftlog fleet") == 1


@pytest.mark.slow
def test_a_relay_of_a_test_brings_two_devices_together(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        notes=APP,
        test_notes="""
        from notes import NoteAdded, app

        def test_they_sync(driftlog_relay, tmp_path):
            with app.open(tmp_path / "ann.db") as ann, app.join(tmp_path / "bob.db", ann.invite()) as bob:
                ann.append(NoteAdded(id="1", text="milk"))
                ann.sync(driftlog_relay.url).wait(timeout=20)
                bob.sync(driftlog_relay.url).wait(timeout=20)
                assert bob.query("SELECT text FROM note") == [("milk",)]
        """,
    )

    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_pytest_imports_nothing_of_driftlog_until_a_test_asks() -> None:
    code = "import sys, _driftlog_pytest; print([name for name in sys.modules if name.partition('.')[0] == 'driftlog'])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "[]\n"


@pytest.mark.slow
def test_testing_needs_no_hypothesis_until_stories_are_drawn_and_then_says_what_to_install() -> None:
    code = """
import sys
sys.modules["hypothesis"] = None
from driftlog.testing import check_convergence, play
from driftlog.testing.simulation.example import app
try:
    check_convergence(app)
except ModuleNotFoundError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 'pip install "driftlog[testing]"' in said
