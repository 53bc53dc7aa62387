"""What is simulated if no app is named: todos in two versions, whose users add, complete, rename and remove them."""

import random
from typing import Final

from driftlog._core.event import Event
from driftlog._store.view_transaction import ViewTransaction
from driftlog.space.app import App
from driftlog.space.space import Space
from driftlog.testing.simulation.versions import Version

_NAME: Final = "org.example.simulated"
_TABLES: Final = """
CREATE TABLE todo (id TEXT PRIMARY KEY, text TEXT NOT NULL UNIQUE, done INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE tally (name TEXT PRIMARY KEY, n INTEGER NOT NULL CHECK (n <= 5)) STRICT;
"""
_LOCAL_TABLES: Final = "CREATE TABLE draft (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT"
_KEYS: Final = "abcdefghijkl"


class TodoAdded(Event):
    id: str
    text: str


class TodoCompleted(Event):
    id: str


class TodoRemoved(Event):
    id: str


class TodoStarred(Event):
    """Known to the newer version only."""

    id: str


def _declare(*, is_new: bool) -> App:
    app = App(_NAME, tables=_TABLES, local_tables=_LOCAL_TABLES)

    @app.on(TodoAdded)
    def added(tx: ViewTransaction, event: TodoAdded) -> None:
        tx.execute("INSERT INTO todo (id, text) VALUES (?, ?)", (event.id, event.text))

    @app.on(TodoCompleted)
    def completed(tx: ViewTransaction, event: TodoCompleted) -> None:
        row = tx.one("SELECT done FROM todo WHERE id = ?", (event.id,))
        if row is not None and not row.done:
            tx.execute("UPDATE todo SET done = 1 WHERE id = ?", (event.id,))
            tx.execute("INSERT INTO tally VALUES ('done', 1) ON CONFLICT (name) DO UPDATE SET n = n + 1")

    @app.on(TodoRemoved)
    def removed(tx: ViewTransaction, event: TodoRemoved) -> None:
        tx.execute("DELETE FROM todo WHERE id = ?", (event.id,))

    if is_new:

        @app.on(TodoStarred)
        def starred(tx: ViewTransaction, event: TodoStarred) -> None:
            tx.execute("UPDATE todo SET text = '* ' || text WHERE id = ?", (event.id,))

    return app


def work_in_old(space: Space, rng: random.Random) -> None:
    """Do what users of the older version do."""
    _work(space, rng, is_new=False)


def work(space: Space, rng: random.Random) -> None:
    """Do what users do."""
    _work(space, rng, is_new=True)


def _work(space: Space, rng: random.Random, *, is_new: bool) -> None:
    space.execute_local("INSERT INTO draft (text) VALUES ('half a thought')")
    for _ in range(rng.choice((1, 1, 2, 3))):
        key = rng.choice(_KEYS)
        events: list[Event] = [
            TodoAdded(id=key, text=rng.choice("xyz") + key),
            TodoCompleted(id=key),
            TodoRemoved(id=key),
        ]
        if is_new:
            events.append(TodoStarred(id=key))
        chosen = rng.choice(events)
        if rng.random() < 0.25:
            # One of the latest, which others undo and redo at the same time.
            entries = list(space.log())[-3:]
            if entries:
                (space.redo if rng.random() < 0.4 else space.undo)(rng.choice(entries).timestamp)
        else:
            space.append(chosen)


app = _declare(is_new=True)
older_app = _declare(is_new=False)

VERSIONS: Final = (Version(older_app, work_in_old), Version(app, work))
"""Older first."""
