"""A device that opens its file with a changed app, and says how far the rebuild is: `<path> <seed>`.

The two versions of the app fill the same table otherwise, and the newer one judges otherwise too, so that tables, states
and undo data of one cannot pass for those of the other.
"""

from driftlog import App, Event, ViewTransaction, reject
from tests.crash.processes import order, say

EVENTS = 3_000
OLD, NEW = 1, 3

TABLES = {
    OLD: "CREATE TABLE count (id TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT",
    NEW: """
    CREATE TABLE also (id TEXT PRIMARY KEY) STRICT;
    CREATE TABLE count (id TEXT PRIMARY KEY, n INTEGER NOT NULL, more TEXT) STRICT;
    CREATE INDEX count_n ON count (n);
    """,
}


NOTE = "CREATE TABLE note (id TEXT PRIMARY KEY) STRICT"


class Counted(Event):
    id: str
    n: int


def version(factor: int) -> App:
    """Give a version of the app: it multiplies by a factor, and refuses some events for it."""
    app = App("org.example.counts", tables=TABLES[factor], local_tables=NOTE)

    @app.on(Counted)
    def counted(tx: ViewTransaction, event: Counted) -> None:
        # Never so for the old version, whose factor is 1.
        if event.n % factor == 1:
            reject(f"one more than a multiple of {factor}")
        tx.execute(
            "INSERT INTO count (id, n) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET n = n + excluded.n",
            (event.id, factor * event.n),
        )

    return app


def main() -> None:
    """Open, and say so."""
    path, _ = order()
    with version(NEW).open(path, progress=lambda done, _: say("done", done)):
        say("open")


if __name__ == "__main__":
    main()
