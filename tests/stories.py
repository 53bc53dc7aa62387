"""Stories of one late event each, told so that one rule of the weave decides how they end.

A story runs on two devices. Both know how it begins; then one goes on, and the other, whose clock is behind, does something
that must take its place before all of that. The judge is a rebuild: what was woven must be what a fold from empty gives.
"""

from dataclasses import dataclass

from driftlog import App, Event, Space, State, ViewTransaction, Way, reject
from driftlog.testing import exchange, fleet
from tests.todo_app import Clock

TABLES = """
CREATE TABLE seat (n INTEGER PRIMARY KEY, owner TEXT UNIQUE) STRICT;
CREATE TABLE badge (n INTEGER PRIMARY KEY, owner TEXT NOT NULL UNIQUE, points INTEGER) STRICT;
CREATE TABLE room (id TEXT PRIMARY KEY, name TEXT) STRICT;
CREATE TABLE booking (id TEXT PRIMARY KEY, room TEXT REFERENCES room ON DELETE CASCADE) STRICT;
CREATE TABLE grid (x INTEGER, y INTEGER, v TEXT, PRIMARY KEY (x, y)) STRICT;
CREATE TABLE word (text TEXT COLLATE NOCASE PRIMARY KEY, uses INTEGER) STRICT;
CREATE TABLE note (id TEXT PRIMARY KEY, total INTEGER) STRICT;
CREATE TABLE tally (id TEXT PRIMARY KEY, n INTEGER) STRICT;
CREATE TABLE slot (n INTEGER PRIMARY KEY, v TEXT) STRICT;
CREATE TABLE main (n INTEGER PRIMARY KEY) STRICT;
CREATE TABLE raw (id TEXT PRIMARY KEY, b BLOB) STRICT;
CREATE TRIGGER noted AFTER INSERT ON note BEGIN
  UPDATE note SET total = (SELECT count(*) FROM tally) WHERE id = NEW.id;
END;
"""


class Ran(Event):
    """Runs statements, each with its parameters. No app should have such an event."""

    sql: str
    parameters: tuple[str | int | None, ...] = ()
    then: str = ""
    refusing_if: str = ""


app = App("org.example.stories", tables=TABLES)


@app.on(Ran)
def ran(tx: ViewTransaction, event: Ran) -> None:
    """Run, then copy what a query says into a tally, or refuse."""
    tx.execute(event.sql, event.parameters)
    if event.refusing_if and tx.one(event.refusing_if):
        reject("refused")
    if event.then:
        row = tx.one(event.then)
        tx.execute("INSERT OR REPLACE INTO tally VALUES (?, ?)", (event.then, None if row is None else row[0]))


@dataclass(frozen=True)
class Story:
    """What both know, what one did since, what the other did before that, and how it is taken in."""

    before: tuple[Ran, ...]
    since: tuple[Ran, ...]
    late: Ran | tuple[Ran, ...]
    way: Way
    """How the last of the late ones is taken in."""


def seat(n: int, owner: str | None) -> Ran:
    return Ran("INSERT INTO seat VALUES (?, ?)", (n, owner))


def put(table: str, *values: str | int | None) -> Ran:
    return Ran(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)


STORIES = {
    "an unrelated row": Story((seat(1, "a"),), (seat(2, "b"),), seat(3, "c"), Way.IN_PLACE),
    "the same row": Story(
        (seat(1, "a"),),
        (Ran("UPDATE seat SET owner = 'b' WHERE n = 1"),),
        Ran("DELETE FROM seat WHERE n = 1"),
        Way.CLOSURE,
    ),
    "a row that was not there when it was looked for": Story(
        (), (Ran("UPDATE seat SET owner = 'late' WHERE n = ?", (1,)),), seat(1, "a"), Way.CLOSURE
    ),
    "a value that another row took when it was free": Story(
        (seat(5, "a"),),
        (Ran("UPDATE seat SET owner = NULL WHERE n = 5"), seat(6, "a")),
        Ran("UPDATE seat SET owner = 'b' WHERE n = 5"),
        Way.CLOSURE,
    ),
    "a number that goes by the greatest": Story(
        (seat(1, "a"),), (Ran("INSERT INTO seat (owner) VALUES ('b')"),), seat(7, "c"), Way.CLOSURE
    ),
    "a late number that goes by the greatest": Story(
        (seat(1, "a"),), (seat(7, "c"),), Ran("INSERT INTO seat (owner) VALUES ('b')"), Way.CLOSURE
    ),
    "a count": Story((seat(1, "a"),), (Ran("SELECT 1", then="SELECT count(*) FROM seat"),), seat(2, "b"), Way.CLOSURE),
    "a child whose parent goes": Story(
        (put("room", "r", None),), (put("booking", "b", "r"),), Ran("DELETE FROM room WHERE id = 'r'"), Way.CLOSURE
    ),
    "a row looked for by its UNIQUE value, not there": Story(
        (seat(1, "a"),), (Ran("UPDATE seat SET owner = 'c' WHERE owner = ?", ("b",)),), seat(2, "b"), Way.CLOSURE
    ),
    "a row looked for by its UNIQUE value, which changes": Story(
        (seat(1, "a"),),
        (Ran("DELETE FROM seat WHERE owner = 'a'"),),
        Ran("UPDATE seat SET owner = 'b' WHERE n = 1"),
        Way.CLOSURE,
    ),
    "a row read by its UNIQUE value": Story(
        (Ran("INSERT INTO badge VALUES (1, 'a', 5)"),),
        (Ran("SELECT 1", then="SELECT points FROM badge WHERE owner = 'a'"),),
        Ran("UPDATE badge SET points = 6 WHERE n = 1"),
        Way.CLOSURE,
    ),
    "another row than the one looked for by its UNIQUE value": Story(
        (seat(1, "a"), seat(2, "b")),
        (Ran("UPDATE seat SET owner = 'c' WHERE owner = 'a'"),),
        Ran("DELETE FROM seat WHERE n = 2"),
        Way.IN_PLACE,
    ),
    "a parent that went before a late child came": Story(
        (put("room", "r", None),), (Ran("DELETE FROM room WHERE id = 'r'"),), put("booking", "b", "r"), Way.CLOSURE
    ),
    "a parent that went and came back": Story(
        (put("room", "r", None),),
        (Ran("DELETE FROM room WHERE id = 'r'"), put("room", "r", None)),
        put("booking", "b", "r"),
        Way.CLOSURE,
    ),
    "a child that came and went": Story(
        (put("room", "r", None),),
        (put("booking", "b", "r"), Ran("DELETE FROM booking WHERE id = 'b'")),
        Ran("DELETE FROM room WHERE id = 'r'"),
        Way.CLOSURE,
    ),
    "a parent that comes late": Story((), (put("booking", "b", None),), put("room", "r", None), Way.IN_PLACE),
    "a parent whose name changes": Story(
        (put("room", "r", None),),
        (put("booking", "b", "r"),),
        Ran("UPDATE room SET name = 'n' WHERE id = 'r'"),
        Way.IN_PLACE,
    ),
    "the other half of a key": Story(
        (put("grid", 1, 1, "a"),),
        (Ran("UPDATE grid SET v = 'b' WHERE x = 1 AND y = 1"),),
        put("grid", 1, 2, "c"),
        Way.IN_PLACE,
    ),
    "half a key": Story(
        (put("grid", 1, 1, "a"),), (Ran("UPDATE grid SET v = 'b' WHERE x = 1"),), put("grid", 1, 2, "c"), Way.CLOSURE
    ),
    "a word in other letters": Story(
        (put("word", "a", 1),),
        (Ran("UPDATE word SET uses = 2 WHERE text = 'A'"),),
        Ran("DELETE FROM word WHERE text = ?", ("a",)),
        Way.CLOSURE,
    ),
    "a word that was looked for in other letters": Story(
        (), (Ran("UPDATE word SET uses = 2 WHERE text = 'A'"),), put("word", "a", 1), Way.CLOSURE
    ),
    "what a trigger counts": Story((), (put("note", "n", 0),), put("tally", "t", 1), Way.CLOSURE),
    "a number for a text": Story(
        (put("room", "1", None),),
        (Ran("UPDATE room SET name = 'n' WHERE id = ?", (1,)),),
        Ran("DELETE FROM room WHERE id = ?", ("1",)),
        Way.CLOSURE,
    ),
    "an insert that was passed over": Story(
        (seat(1, "a"),),
        (Ran("INSERT OR IGNORE INTO seat VALUES (2, 'a')"),),
        Ran("UPDATE seat SET owner = 'b' WHERE n = 1"),
        Way.CLOSURE,
    ),
    "what a refused event tried first": Story(
        (),
        (Ran("INSERT INTO seat VALUES (1, 'a')", refusing_if="SELECT 1 FROM room WHERE id = 'closed'"),),
        (put("room", "closed", None), seat(1, "late")),
        Way.CLOSURE,
    ),
    "several rows of which one was passed over": Story(
        (put("room", "r", "first"),),
        (Ran("INSERT OR IGNORE INTO room VALUES ('q', NULL), ('r', 'second')"),),
        Ran("DELETE FROM room WHERE id = 'r'"),
        Way.CLOSURE,
    ),
    "one that depends on one that depends": Story(
        (put("tally", "x", 1),),
        (
            Ran("INSERT OR REPLACE INTO room SELECT 'copy', CAST(n AS TEXT) FROM tally WHERE id = 'x'"),
            Ran("INSERT OR REPLACE INTO booking SELECT name, NULL FROM room WHERE id = 'copy'"),
        ),
        Ran("UPDATE tally SET n = 2 WHERE id = 'x'"),
        Way.CLOSURE,
    ),
    "a key that goes by its other name": Story(
        (put("slot", 1, "a"),),
        (Ran("UPDATE slot SET rowid = 5 WHERE n = 1"),),
        (put("slot", 5, "came"), Ran("DELETE FROM slot WHERE n = 5")),
        Way.CLOSURE,
    ),
    "a key whose name is a string": Story(
        (put("slot", 1, "a"),),
        (Ran("UPDATE slot SET 'n' = 5 WHERE n = 1"),),
        (put("slot", 5, "came"), Ran("DELETE FROM slot WHERE n = 5")),
        Way.CLOSURE,
    ),
    "an upsert that moves its row": Story(
        (put("slot", 1, "a"),),
        (Ran("INSERT INTO slot VALUES (1, 'b') ON CONFLICT DO UPDATE SET n = 5"),),
        (put("slot", 5, "came"), Ran("DELETE FROM slot WHERE n = 5")),
        Way.CLOSURE,
    ),
    "a key that is named twice": Story(
        (),
        (Ran("INSERT INTO slot (n, rowid, v) VALUES (2, 5, 'b')"),),
        (put("slot", 5, "came"), Ran("DELETE FROM slot WHERE n = 5")),
        Way.CLOSURE,
    ),
    "a schema that is called as a table": Story(
        (put("slot", 5, "a"),),
        (Ran("INSERT INTO main.slot (v) VALUES ('b')"),),
        Ran("DELETE FROM slot WHERE n = 5"),
        Way.CLOSURE,
    ),
    "a number too large for a key": Story(
        (),
        (Ran("SELECT 1", then="SELECT v FROM slot WHERE n = 99999999999999999999"),),
        put("slot", 1, "a"),
        Way.CLOSURE,
    ),
    "text that could not be read": Story(
        (Ran("INSERT INTO raw VALUES ('x', x'41')"),),
        (Ran("SELECT 1", then="SELECT 1, CAST(b AS TEXT) FROM raw WHERE id = 'x'"),),
        (Ran("UPDATE raw SET b = x'ff' WHERE id = 'x'"), Ran("UPDATE raw SET b = x'42' WHERE id = 'x'")),
        Way.CLOSURE,
    ),
    "text that could not be given back": Story(
        (Ran("INSERT INTO raw VALUES ('x', x'41')"),),
        (Ran("UPDATE raw SET id = 'x' WHERE id = 'x' RETURNING CAST(b AS TEXT)"),),
        (Ran("UPDATE raw SET b = x'ff' WHERE id = 'x'"), Ran("UPDATE raw SET b = x'42' WHERE id = 'x'")),
        Way.CLOSURE,
    ),
}


def tell(story: Story) -> None:
    """Run a story on two devices, and hold it to a rebuild."""
    clock = Clock(1_000)
    behind, ahead = fleet(app, 2, clocks=[Clock(1_000), clock])
    with behind, ahead:
        for event in story.before:
            behind.append(event)
        exchange(behind, ahead)
        clock.now_ms = 2_000
        for event in story.since:
            ahead.append(event)
        for event in story.late if isinstance(story.late, tuple) else (story.late,):
            [late] = behind.append(event)
            assert late < next(entry.timestamp for entry in ahead.log() if entry.timestamp.hlc >> 16 == clock.now_ms)
            receipt = ahead.receive(behind.envelopes_for(ahead.version_vector()))
        woven, states = ahead.digest(), _states(ahead)
        ahead.rebuild()
        assert (woven, states) == (ahead.digest(), _states(ahead))
        assert receipt.way is story.way


def _states(space: Space) -> list[tuple[State, str | None]]:
    return [(entry.state, entry.reason) for entry in space.log()]
