"""An app goes through the simulator from the command line, and what fails there can be run again from there."""

import logging
import shlex
from pathlib import Path

import pytest

from driftlog.cli import simulate
from tests.cli.conftest import TODOS, CommandLine

WORK = """

def work(space, random):
    space.append(TodoAdded(id=str(random.randrange(9)), text="milk"))
"""

MISTAKEN = (
    TODOS.replace("(event.id, event.text)", "(event.id, str(next(numbers)))")
    + WORK
    + "\nimport itertools\nnumbers = itertools.count()\n"
)

FEW = ("--faults", "2", "3")


@pytest.fixture(autouse=True)
def todos(driftlog: CommandLine, app_file: Path) -> None:
    app_file.write_text(TODOS + WORK)


def test_an_app_without_mistakes_passes(driftlog: CommandLine) -> None:
    outcome = driftlog("simulate", "todos.py:app", "--seeds", "2", *FEW)

    assert outcome.code == 0, outcome.out
    assert outcome.out.startswith("2 seeds, 0 failed; ")
    assert logging.getLogger("driftlog").level == logging.NOTSET, "whoever called it logs as before"


def test_a_mistake_fails_and_the_command_that_is_printed_fails_the_same_seed(
    driftlog: CommandLine, app_file: Path
) -> None:
    app_file.write_text(MISTAKEN.replace("def work", "def use"))

    outcome = driftlog("simulate", "todos.py:app", "--work", "todos.py:use", "--start", "6", "--seeds", "1", *FEW)

    assert outcome.code == 1
    assert outcome.out.startswith("seed 6: Broken: ")
    assert "it fails with 0 of its " in outcome.out
    assert outcome.out.endswith("1 failed: 6\n")
    [command] = [line for line in outcome.out.splitlines() if line.startswith("run it again: ")]
    words = shlex.split(command.removeprefix("run it again: "))
    assert words[:3] == ["driftlog", "simulate", "todos.py:app"]
    again = driftlog(*words[1:])
    assert again.code == 1
    assert again.out == outcome.out


def test_json_is_for_programs(driftlog: CommandLine, app_file: Path) -> None:
    app_file.write_text(MISTAKEN)

    outcome = driftlog("simulate", "todos.py:app", "--seed", "6", *FEW, "--json")

    assert outcome.code == 1
    assert outcome.json["seeds"] == 1
    assert outcome.json["failed"] == [6]
    [explained] = outcome.json["explained"]
    assert explained["command"] == "driftlog simulate todos.py:app --seed 6 --faults 2 3"
    assert explained["faults"] == 0


def test_the_seeds_are_those_from_the_start_on(driftlog: CommandLine, app_file: Path) -> None:
    app_file.write_text(TODOS + "\ndef work(space, random):\n    assert False\n")

    outcome = driftlog("simulate", "todos.py:app", "--start", "40", "--seeds", "2", "--faults", "1", "1", "--json")

    assert outcome.json["failed"] == [40, 41]


def test_a_file_that_declares_app_and_work_is_run_once(driftlog: CommandLine, app_file: Path) -> None:
    app_file.write_text(TODOS + WORK + "\nprint('run', end=' ')\n")

    outcome = driftlog("simulate", "todos.py:app", "--seed", "1", *FEW)

    assert outcome.out.startswith("run 1 seed, 0 failed; ")


def test_where_nothing_was_appended_nothing_was_shown(driftlog: CommandLine, app_file: Path) -> None:
    app_file.write_text(TODOS + "\ndef work(space, random):\n    pass\n")

    outcome = driftlog("simulate", "todos.py:app", "--seed", "1", *FEW, "--json")

    assert outcome.code == 1
    assert outcome.json["failed"] == []
    assert "todos.py:work appended no event" in outcome.err


def test_work_may_stand_in_another_file_and_appends_the_apps_events(driftlog: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "users.py").write_text("from todos import TodoAdded\n" + WORK.replace("def work", "def add"))

    outcome = driftlog(
        "simulate", "todos.py:app", "--work", "users.py:add", "--seed", "1", "--faults", "1", "1", "--json"
    )

    assert outcome.code == 0, outcome.out
    assert outcome.json["events"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing.py:app"], "there is no file nothing.py; check the path"),
        (["todos"], "'todos' names no app; give module:attribute"),
        (["todos.py:nope"], "has no 'nope'; it declares another, app"),
        (["todos.py:app", "--work", "todos.py:nope"], "has no 'nope'; give a function that does once what a user does"),
        (["todos.py:app", "--work", "todos.py:app"], "is of type App, not a function; give a function"),
        (["todos.py:app", "--work", "work"], "'work' names no workload; give module:function"),
        (["todos.py:app", "--faults", "3", "2"], "--faults 3 2 begins above its end"),
    ],
)
def test_what_cannot_be_meant_is_exit_code_2(driftlog: CommandLine, arguments: list[str], said: str) -> None:
    outcome = driftlog("simulate", *arguments)

    assert outcome.code == 2
    assert outcome.out == ""
    assert said in outcome.err


def test_of_the_option_that_names_a_workload_only_who_has_none_is_told(driftlog: CommandLine, app_file: Path) -> None:
    assert "--work" not in driftlog("simulate", "nothing.py:app").err
    app_file.write_text(TODOS)
    assert "name it with --work file.py:function if it is elsewhere" in driftlog("simulate", "todos.py:app").err


def test_an_app_without_work_beside_it_is_told_how_to_name_it(driftlog: CommandLine, app_file: Path) -> None:
    app_file.write_text(TODOS)

    outcome = driftlog("simulate", "todos.py:app")

    assert outcome.code == 2
    assert "todos.py has no 'work'" in outcome.err
    assert "--work file.py:function" in outcome.err


def test_ctrl_c_ends_it(driftlog: CommandLine, app_file: Path) -> None:
    app_file.write_text(TODOS + "\ndef work(space, random):\n    raise KeyboardInterrupt\n")

    assert driftlog("simulate", "todos.py:app", "--seed", "1", "--faults", "1", "1").code == 130


def test_without_a_terminal_progress_is_lines_on_standard_error(
    driftlog: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulate, "NOTE_EVERY_S", -1)

    outcome = driftlog("simulate", "todos.py:app", "--seeds", "2", "--faults", "1", "1", "--json")

    assert outcome.err == "1 of 2 seeds, 0 failed\n2 of 2 seeds, 0 failed\n"
    assert outcome.json["seeds"] == 2


def test_on_a_terminal_a_bar_is_drawn_and_a_file_gets_what_is_said(
    driftlog: CommandLine, app_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app_file.write_text(MISTAKEN)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)

    outcome = driftlog("simulate", "todos.py:app", "--seed", "6", *FEW)

    assert "1 failed" in outcome.err
    assert outcome.out.startswith("seed 6: Broken: ")
