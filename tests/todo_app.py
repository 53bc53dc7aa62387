"""The app of the public examples, as tests use it: todos that are added, completed, renamed and removed."""

from driftlog import App, Event, ViewTransaction, reject

TABLES = "CREATE TABLE todo (id TEXT PRIMARY KEY, text TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0) STRICT"


class TodoAdded(Event):
    id: str
    text: str


class TodoCompleted(Event):
    id: str


class TodoRenamed(Event):
    id: str
    text: str


class TodoRemoved(Event):
    id: str


def todo_app(name: str = "org.example.todos") -> App:
    app = App(name, tables=TABLES)

    @app.on(TodoAdded)
    def todo_added(tx: ViewTransaction, event: TodoAdded) -> None:
        tx.execute("INSERT INTO todo (id, text) VALUES (?, ?)", (event.id, event.text))

    @app.on(TodoCompleted)
    def todo_completed(tx: ViewTransaction, event: TodoCompleted) -> None:
        if tx.one("SELECT 1 FROM todo WHERE id = ?", (event.id,)) is None:
            reject("no such todo")
        tx.execute("UPDATE todo SET done = 1 WHERE id = ?", (event.id,))

    @app.on(TodoRenamed)
    def todo_renamed(tx: ViewTransaction, event: TodoRenamed) -> None:
        tx.execute("UPDATE todo SET text = ? WHERE id = ?", (event.text, event.id))

    @app.on(TodoRemoved)
    def todo_removed(tx: ViewTransaction, event: TodoRemoved) -> None:
        tx.execute("DELETE FROM todo WHERE id = ?", (event.id,))

    return app


class Clock:
    """A clock that stands where it is put, in milliseconds."""

    def __init__(self, now_ms: int = 1_800_000_000_000) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms
