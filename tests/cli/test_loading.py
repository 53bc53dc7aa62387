"""An app is found by file or by module, and what is not one is named."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from driftlog import App
from driftlog.cli.arguments import UsageError
from driftlog.cli.loading import load_app
from driftlog.errors import InvalidApp
from tests.cli.conftest import CommandLine

pytestmark = pytest.mark.usefixtures("driftlog")


def test_an_app_is_found_by_its_file(spec: str) -> None:
    app = load_app(spec)

    assert isinstance(app, App)
    assert app.name == "org.example.todos"


def test_an_app_is_found_by_its_module_in_the_working_directory(tmp_path: Path, app_file: Path) -> None:
    app_file.rename(tmp_path / "found_here.py")

    assert load_app("found_here:app").name == "org.example.todos"


def test_an_app_is_found_inside_a_class(tmp_path: Path) -> None:
    path = tmp_path / "nested.py"
    path.write_text(
        "from driftlog import App\n"
        "class config:\n"
        "    app = App('a', tables='CREATE TABLE t (i INTEGER PRIMARY KEY) STRICT')\n"
    )

    assert load_app(f"{path}:config.app").name == "a"


def test_a_file_finds_its_neighbours(tmp_path: Path, app_file: Path) -> None:
    app_file.rename(tmp_path / "neighbour.py")
    path = tmp_path / "front.py"
    path.write_text("from neighbour import app\n")

    assert load_app(f"{path}:app").name == "org.example.todos"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("todos", "names no app; give module:attribute"),
        ("todos.py:", "names no app"),
        (":app", "names no app"),
        ("nothing.py:app", "there is no file nothing.py"),
        ("no_such_module:app", "there is no module 'no_such_module'"),
        ("driftlog.no_such_part:app", "there is no module 'driftlog.no_such_part'"),
        ("todos.py:nope", "has no 'nope'; it declares another, app"),
        ("todos.py:not_an_app", "is of type int, not App; it declares another, app"),
        ("json:dumps", "is of type function, not App; it declares no App"),
    ],
)
@pytest.mark.usefixtures("app_file")
def test_what_names_no_app_is_a_wrong_command_line(name: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        load_app(name)

    assert said in str(raised.value)


def test_a_wrong_name_is_exit_code_2(driftlog: CommandLine, tmp_path: Path) -> None:
    assert driftlog("status", "no_such_module:app", tmp_path / "x.db").code == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [("1 / 0", "ZeroDivisionError"), ("import no_such_thing", "ModuleNotFoundError"), ("def", "SyntaxError")],
)
def test_a_file_that_fails_says_how(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)

    for name in (f"{path}:app", "broken:app"):
        with pytest.raises(InvalidApp, match=said):
            load_app(name)


def test_an_app_file_that_bears_a_modules_name_replaces_it_not(
    tmp_path: Path, app_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Were it replaced, only this test should notice.
    monkeypatch.setitem(sys.modules, "json", json)
    path = app_file.rename(tmp_path / "json.py")

    assert load_app(f"{path}:app").name == "org.example.todos"

    assert importlib.import_module("json") is json


def test_a_file_that_fails_leaves_the_module_that_was_there(app_file: Path) -> None:
    load_app(f"{app_file}:app")
    before = sys.modules["todos"]
    app_file.write_text("1 / 0")

    with pytest.raises(InvalidApp):
        load_app(f"{app_file}:app")

    assert sys.modules["todos"] is before
