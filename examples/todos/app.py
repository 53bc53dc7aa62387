"""Todos: the app that the terminal, the window and the web page of this folder show, and how each opens its space."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from driftlog import App, Event, Space, ViewTransaction, reject

app = App(
    "org.driftlog.example.todos",
    tables="CREATE TABLE todo (id TEXT PRIMARY KEY, text TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0) STRICT",
)

OPEN_FIRST = "SELECT id, text, done FROM todo ORDER BY done, text, id"


class TodoAdded(Event, name="todo.added"):
    """Somebody has something to do."""

    id: str
    text: str


class TodoTicked(Event, name="todo.ticked"):
    """It is done, or after all it is not."""

    id: str
    done: bool


class TodoRemoved(Event, name="todo.removed"):
    """It is off the list."""

    id: str


@app.on(TodoAdded)
def todo_added(tx: ViewTransaction, event: TodoAdded) -> None:
    """Put it on the list."""
    tx.execute("INSERT INTO todo (id, text) VALUES (?, ?)", (event.id, event.text))


@app.on(TodoTicked)
def todo_ticked(tx: ViewTransaction, event: TodoTicked) -> None:
    """Tick it, unless somebody has removed it."""
    if tx.one("SELECT 1 FROM todo WHERE id = ?", (event.id,)) is None:
        reject("it is not on the list any more")
    tx.execute("UPDATE todo SET done = ? WHERE id = ?", (int(event.done), event.id))


@app.on(TodoRemoved)
def todo_removed(tx: ViewTransaction, event: TodoRemoved) -> None:
    """Take it off; twice is once."""
    tx.execute("DELETE FROM todo WHERE id = ?", (event.id,))


def add(space: Space, text: str) -> None:
    """Append what somebody has typed, unless it is nothing."""
    if text.strip():
        space.append(TodoAdded(id=token_hex(8), text=text.strip()))


@contextmanager
def opened(description: str, arguments: Sequence[str] | None = None) -> Iterator[Space]:
    """Open the space that the command line names, and sync it if that says with whom."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("path", nargs="?", default="todos.db", help="this device's file (todos.db)")
    parser.add_argument("--relay", metavar="URL", help="sync through this relay, as ws://localhost:8787")
    parser.add_argument("--join", metavar="LINK", help="make the file a device of the space that this link is for")
    parser.add_argument("--invite", action="store_true", help="print such a link, and end")
    given = parser.parse_args(arguments)
    path = Path(given.path)
    with app.join(path, given.join) if given.join else app.open(path) as space:
        if given.relay:
            space.sync(given.relay)
        if given.invite:
            print(space.invite())
            parser.exit()
        yield space
