"""Exit codes, and where a command line that is wrong is told so."""

import sys
from pathlib import Path

import pytest

from driftlog.cli.main import main
from tests.cli.conftest import CommandLine

COMMANDS = (
    *("demo", "relay", "join", "invite", "sync", "status", "log", "why", "at", "rebuild", "verify", "repair"),
    "simulate",
)


def test_help_names_every_command(driftlog: CommandLine) -> None:
    outcome = driftlog("--help")

    assert outcome.code == 0
    for command in COMMANDS:
        assert f"\n    {command} " in outcome.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_takes_json(driftlog: CommandLine, command: str) -> None:
    outcome = driftlog(command, "--help")

    assert outcome.code == 0
    assert "--json" in outcome.out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["no-such-command"],
        ["status"],
        ["log", "todos.py:app", "todos.db", "--limit", "0"],
        ["log", "todos.py:app", "todos.db", "--after", "yesterday"],
        ["log", "todos.py:app", "todos.db", "--after", "99999999999999999999"],
        ["log", "todos.py:app", "todos.db", "--after", "1.2@abc"],
        ["log", "todos.py:app", "todos.db", "--before", "tomorrow"],
        ["why", "todos.py:app", "todos.db", "todo"],
        ["at", "todos.py:app", "todos.db", "now", "SELECT 1"],
        ["at", "todos.py:app", "todos.db", "1.2"],
        ["relay", "--port", "http"],
        ["relay", "--port", "65536"],
        ["demo", "--events", "some"],
        ["simulate"],
        ["simulate", "todos.py:app", "--seeds", "0"],
        ["simulate", "todos.py:app", "--seed", "1", "--seeds", "2"],
    ],
)
def test_a_command_line_that_is_wrong_is_exit_code_2(driftlog: CommandLine, arguments: list[str]) -> None:
    outcome = driftlog(*arguments)

    assert outcome.code == 2
    assert outcome.out == ""
    assert "usage: driftlog" in outcome.err


@pytest.mark.parametrize("command", ["status", "log", "invite", "rebuild", "verify", "repair"])
def test_a_path_that_does_not_exist_is_an_error_and_stays_so(
    driftlog: CommandLine, spec: str, tmp_path: Path, command: str
) -> None:
    path = tmp_path / "missing.db"

    outcome = driftlog(command, spec, path)

    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err.startswith(f"driftlog: {path} does not exist; check the path")
    assert outcome.err.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir() if "missing" in file.name] == []


def test_an_empty_file_is_not_taken_for_a_new_space(driftlog: CommandLine, spec: str, tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()

    outcome = driftlog("status", spec, path)

    assert outcome.code == 1
    assert "is empty" in outcome.err
    assert path.stat().st_size == 0


def test_a_directory_is_not_a_space(driftlog: CommandLine, spec: str, tmp_path: Path) -> None:
    outcome = driftlog("status", spec, tmp_path)

    assert outcome.code == 1
    assert "is a directory" in outcome.err


def test_another_apps_space_is_refused(driftlog: CommandLine, app_file: Path, space_file: Path) -> None:
    outcome = driftlog("status", f"{app_file}:another", space_file)

    assert outcome.code == 1
    assert "belongs to the app 'org.example.todos'" in outcome.err


def test_without_rich_a_person_is_told_what_to_install_and_a_program_needs_nothing(
    driftlog: CommandLine, spec: str, space_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)

    for_a_person = driftlog("status", spec, space_file)
    for_a_program = driftlog("status", spec, space_file, "--json")

    assert for_a_person.code == 1
    assert 'pip install "driftlog[cli]"' in for_a_person.err
    assert for_a_program.code == 0
    assert for_a_program.json["events"] == 2


def test_an_interrupted_command_gives_what_a_shell_expects(
    driftlog: CommandLine, spec: str, space_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("driftlog.space.space.Space.digest", interrupted)

    assert main(["rebuild", spec, str(space_file)]) == 130
