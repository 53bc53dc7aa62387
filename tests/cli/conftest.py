"""An app in a file, a space with two events, and the command line called in this process."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from driftlog import App
from driftlog.cli.loading import load_app
from driftlog.cli.main import main
from driftlog.testing import RelayThread

TODOS = """
from driftlog import App, Event, reject

app = App("org.example.todos", tables="CREATE TABLE todo (id TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT")
another = App("org.example.another", tables="CREATE TABLE x (id TEXT PRIMARY KEY) STRICT")
not_an_app = 3


class TodoAdded(Event, name="todo.added"):
    id: str
    text: str


@app.on(TodoAdded)
def todo_added(tx, event):
    if tx.one("SELECT 1 FROM todo WHERE id = ?", (event.id,)) is not None:
        reject(f"{event.id} is taken by \\x1b[31mred")
    tx.execute("INSERT INTO todo (id, text) VALUES (?, ?)", (event.id, event.text))
"""


@dataclass(frozen=True)
class Outcome:
    """What a call of the command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # JSON's own type
        return json.loads(self.out)


class CommandLine:
    """Calls `driftlog` in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Outcome:
        self._capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = self._capsys.readouterr()
        return Outcome(code, out, err)


@pytest.fixture
def driftlog(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CommandLine:
    # Loading an app puts its directory on Python's path, as `python file.py` does; a test gives it back.
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return CommandLine(capsys)


@pytest.fixture
def app_file(tmp_path: Path) -> Path:
    path = tmp_path / "todos.py"
    path.write_text(TODOS)
    return path


@pytest.fixture
def spec(app_file: Path) -> str:
    return f"{app_file}:app"


@pytest.fixture
def app(driftlog: CommandLine, spec: str) -> App:
    return load_app(spec)


def add(app: App, path: Path, *ids: str) -> None:
    """Append an event for each id, in one append each."""
    event_type = sys.modules["todos"].TodoAdded
    with app.open(path) as space:
        for id_ in ids:
            space.append(event_type(id=id_, text=f"text of {id_}"))


@pytest.fixture
def space_file(app: App, tmp_path: Path) -> Path:
    path = tmp_path / "todos.db"
    add(app, path, "1", "2")
    return path


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayThread]:
    running = RelayThread(tmp_path / "relay.db")
    running.start()
    yield running
    running.stop()
