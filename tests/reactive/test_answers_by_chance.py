"""Random queries over a random history: what subscribers are told is what asking again after each transaction gives."""

import contextlib
import random
from collections.abc import Sequence
from typing import Any

import pytest

from driftlog import Answer, App, Event, EventRejected, Row, Space, State, ViewTransaction, reject
from driftlog.testing import exchange, fleet

TABLES = """
CREATE TABLE bin (id TEXT PRIMARY KEY, place INTEGER NOT NULL, label TEXT COLLATE NOCASE) STRICT;
CREATE TABLE item (
  id INTEGER PRIMARY KEY, bin TEXT REFERENCES bin (id) ON DELETE CASCADE, size INTEGER, note TEXT, any ANY
) STRICT;
CREATE INDEX item_bin ON item (bin, size);
CREATE INDEX item_big ON item (note) WHERE size > 2;
CREATE TABLE tally (bin TEXT PRIMARY KEY, items INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TRIGGER counted AFTER INSERT ON item WHEN NEW.bin IS NOT NULL BEGIN
  INSERT INTO tally VALUES (NEW.bin, 1) ON CONFLICT (bin) DO UPDATE SET items = items + 1;
END;
CREATE TABLE part (id INTEGER PRIMARY KEY, size INTEGER, note TEXT, data BLOB) STRICT;
CREATE VIEW filled AS SELECT b.id, b.place, t.items FROM bin b JOIN tally t ON t.bin = b.id;
"""


class Written(Event):
    what: int
    key: int
    value: int
    text: str | None


STATEMENTS = (
    (
        "INSERT INTO bin VALUES (:text, :value, :text)",
        "INSERT OR REPLACE INTO bin VALUES (:text, :value, upper(:text))",
    ),
    ("INSERT INTO item VALUES (:key, :text, :value, :text, :value)",),
    ("INSERT OR REPLACE INTO item VALUES (:key, NULL, :value, :text, :value * 1.0)",),
    ("UPDATE item SET size = :value WHERE id = :key",),
    ("UPDATE item SET id = id + 10, note = :text WHERE id = :key",),
    ("UPDATE item SET bin = (SELECT min(id) FROM bin) WHERE size = :value",),
    ("UPDATE item SET any = :text",),
    ("UPDATE bin SET label = lower(label), place = :value WHERE id = :text",),
    ("DELETE FROM item WHERE size = :value",),
    ("DELETE FROM bin WHERE id = :text",),
    ("UPDATE item SET note = 'gone' WHERE id = :key", "INSERT INTO item (id) VALUES (:key)"),
    ("UPDATE item SET size = (size + :value) % 6 WHERE id >= :key",),
    ("INSERT OR REPLACE INTO part VALUES (:key, :value, :text, CAST(:text AS BLOB))",),
    ("UPDATE OR REPLACE part SET id = (id + :value) % 12, size = :value, note = :text WHERE id = :key",),
    ("UPDATE part SET note = :text, data = CAST(:value AS BLOB), size = NULL WHERE size = :value",),
    ("DELETE FROM part WHERE id = :key", "INSERT INTO part (id, note) VALUES (:key + 1, :text)"),
)


def writing_app(local_tables: str = "") -> App:
    app = App("org.example.live", tables=TABLES, floats=True, local_tables=local_tables)

    @app.on(Written)
    def written(tx: ViewTransaction, event: Written) -> None:
        given = {"key": event.key, "value": event.value, "text": event.text}
        for statement in STATEMENTS[event.what]:
            tx.execute(statement, given)
        if event.value == 4 and len(tx.query("SELECT id FROM item")) > 5:
            reject("full")

    return app


COLUMNS = (
    "*",
    "i.id, i.size",
    "count(*)",
    "sum(i.size), max(i.note)",
    "DISTINCT i.size",
    "i.note, i.id",
    "i.rowid, i.any",
)
SOURCES = (
    "item i",
    "item AS i JOIN bin b ON b.id = i.bin",
    "item i LEFT JOIN bin b ON b.id = i.bin AND i.size = 2",
    "bin b LEFT JOIN item i ON b.id = i.bin AND b.place = 1",
    "item i, bin b",
    "item i, item j",
    "item i RIGHT JOIN bin b ON i.bin = b.id",
    "item i FULL JOIN bin b ON i.bin = b.id",
    "item i JOIN tally t USING (bin)",
    "item i NATURAL JOIN tally t",
    "item i JOIN filled f ON f.id = i.bin",
)
TERMS = (
    ("i.id = ?", (3,)),
    ("i.bin = ?", ("b",)),
    ("i.bin = 'a'", ()),
    ("i.size IN (?, 2)", (1,)),
    ("i.size = ?", (1.0,)),
    ("i.any = ?", (1,)),
    ("(i.size = 3 AND i.note = 'c')", ()),
    ("i.size = 1 OR i.bin = 'b'", ()),
    ("i.size BETWEEN 1 AND i.id = 1", ()),
    ("NOT i.size = 2", ()),
    ("i.note IS NULL", ()),
    ("'b' = i.note", ()),
    ("i.rowid = 3", ()),
    ("i.bin = i.note", ()),
    ("i.note = 'A' COLLATE NOCASE", ()),
    ("i.id = -1 + 4", ()),
    ("i.size = CASE WHEN i.id = 3 AND i.size = 1 THEN 1 ELSE 2 END", ()),
    ("i.id IN (SELECT size FROM item)", ()),
    ("EXISTS (SELECT 1 FROM tally WHERE tally.bin = i.bin AND items = 1)", ()),
)
B_TERMS = (("b.label = 'A'", ()), ("b.id = ?", ("a",)), ("b.place = 1", ()), ("i.bin = b.id", ()))
TAILS = (
    "",
    "",
    " ORDER BY i.size DESC, i.id",
    " ORDER BY i.note LIMIT 2",
    " LIMIT 3",
    " GROUP BY i.size",
    " GROUP BY 1 HAVING count(*) > 1",
)


def a_query(dice: random.Random) -> tuple[str, tuple[Any, ...]]:
    if dice.random() < 0.1:
        return dice.choice(
            (
                "SELECT size FROM item WHERE bin = 'a' UNION SELECT place FROM bin WHERE id = 'a'",
                "WITH x AS (SELECT * FROM item WHERE size = 1) SELECT * FROM x, bin WHERE bin.id = x.bin",
                "SELECT * FROM filled WHERE id = 'a'",
                "SELECT count(*) FROM driftlog_rejected",
                "SELECT value FROM item, json_each('[1, 2]') WHERE item.size = value AND item.bin = 'a'",
            )
        ), ()
    source = dice.choice(SOURCES)
    terms = dice.choices(TERMS + B_TERMS * (" b" in source), k=dice.randrange(3))
    where = " WHERE " + " AND ".join(text for text, _ in terms) if terms else ""
    given = tuple(value for _, values in terms for value in values)
    return f"SELECT {dice.choice(COLUMNS)} FROM {source}{where}{dice.choice(TAILS)}", given


class Subscriber:
    def __init__(self, space: Space, sql: str, given: tuple[Any, ...]) -> None:
        self.space, self.sql, self.given = space, sql, given
        self.calls = 0
        self.rows: Sequence[Row] = ()
        self.subscription = space.subscribe(sql, self.hear, given)

    def hear(self, answer: Answer) -> None:
        assert self.space.query(self.sql, self.given) == list(answer)
        assert answer.difference.apply(self.rows) == list(answer)
        self.calls += 1
        self.rows = answer.rows

    def check(self, calls_before: int, before: Sequence[Row]) -> None:
        asked = self.space.query(self.sql, self.given)
        assert [repr(tuple(row)) for row in self.rows] == [repr(tuple(row)) for row in asked], (self.sql, self.given)
        is_news = [repr(tuple(row)) for row in asked] != [repr(tuple(row)) for row in before]
        assert self.calls - calls_before == is_news, (self.sql, self.given)


def a_step(dice: random.Random, spaces: list[Space]) -> None:
    space, other = dice.sample(spaces, 2)
    match dice.randrange(12):
        case 0 | 1:
            exchange(space, other)
        case 2:
            entries = [entry.timestamp for entry in space.log() if entry.state is not State.RETRACTED]
            if entries:
                space.undo(dice.choice(entries))
        case 3:
            space.rebuild()
        case _:
            with contextlib.suppress(EventRejected):
                space.append(
                    *(
                        Written(
                            what=dice.randrange(len(STATEMENTS)),
                            key=dice.randrange(6),
                            value=dice.randrange(5),
                            text=dice.choice(("a", "b", "c", None)),
                        )
                        for _ in range(dice.randint(1, 3))
                    )
                )


@pytest.mark.parametrize("seed", range(40))
def test_what_is_told_is_what_asking_again_gives(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    run_a_history(random.Random(seed))

    assert "raised" not in caplog.text


def run_a_history(dice: random.Random) -> None:
    spaces = fleet(writing_app(), 2)
    try:
        here = spaces[0]
        subscribers: list[Subscriber] = []
        for _ in range(25):
            while len(subscribers) < 25:
                query = a_query(dice)
                try:
                    here.query(*query)
                except Exception:  # noqa: BLE001, S112 - not all that is put together is SQL
                    continue
                subscribers.append(Subscriber(here, *query))
            before = [(one.calls, one.rows) for one in subscribers]
            a_step(dice, spaces)
            for one, (calls, rows) in zip(subscribers, before, strict=True):
                one.check(calls, rows)
            subscribers.pop(dice.randrange(25)).subscription.close()
    finally:
        for space in spaces:
            space.close()
