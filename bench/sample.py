"""What is measured: the smallest app that is still an app, and the row that one of its events amounts to.

Ids count up. Scattered ones would slow the floor as its table grows, and flatter the ratio.
"""

from driftlog import App, Event, VersionVector, ViewTransaction

TABLE = "CREATE TABLE todo (id TEXT PRIMARY KEY, text TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0) STRICT"
INSERT = "INSERT INTO todo (id, text) VALUES (?, ?)"
TEXT = "milk, bread and a dozen eggs"

app = App("org.example.bench", tables=TABLE)


class TodoAdded(Event):
    """One event makes one row."""

    id: str
    text: str


@app.on(TodoAdded)
def todo_added(tx: ViewTransaction, event: TodoAdded) -> None:
    """Insert the row that the floor inserts."""
    tx.execute(INSERT, (event.id, event.text))


def row(number: int) -> tuple[str, str]:
    """Give the parameters of the insert."""
    return f"todo-{number:010}", TEXT


def event(number: int) -> TodoAdded:
    """Give the event that amounts to `row(number)`."""
    return TodoAdded(id=f"todo-{number:010}", text=TEXT)


def sealed_by_another_device(count: int, *, per_envelope: int) -> tuple[str, list[bytes]]:
    """Make a space with `count` events in envelopes of the given size. Gives an invite to it, and the envelopes."""
    with app.open(":memory:") as space:
        for first in range(0, count, per_envelope):
            space.append(*map(event, range(first, first + per_envelope)))
            space.seal()
        return space.invite(), list(space.envelopes_for(VersionVector()))
