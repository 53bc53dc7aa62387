"""Random queries over random local tables and the view beside them: what is told is what asking again gives.

Local tables may be what the view's may not: with a rowid that SQLite numbers, without a key, with columns that are computed,
defaults that differ each time, cascades among themselves. What is written to them is committed alone or with events, and
undone with a transaction that fails.
"""

import contextlib
import random
from collections import Counter
from typing import Any

import apsw
import pytest

from driftlog import EventRejected, Space, State
from driftlog.testing import exchange, fleet
from tests.reactive.test_answers_by_chance import STATEMENTS, Subscriber, Written, writing_app

DRAFTS = (
    "id INTEGER PRIMARY KEY, size INTEGER, note TEXT) STRICT",
    "id INTEGER PRIMARY KEY AUTOINCREMENT, size INTEGER, note TEXT COLLATE NOCASE) STRICT",
    "id INTEGER UNIQUE, size INTEGER, note TEXT) STRICT",
    "id INTEGER UNIQUE, size INTEGER NOT NULL DEFAULT 3, note TEXT, PRIMARY KEY (note DESC, id)) STRICT, WITHOUT ROWID",
    "id INTEGER PRIMARY KEY, size INTEGER, note TEXT, n INTEGER AS (size * 2), t TEXT AS (note || id) STORED) STRICT",
    "id INTEGER PRIMARY KEY DESC, size ANY, note TEXT DEFAULT (hex(randomblob(2)))) STRICT",
    "id TEXT PRIMARY KEY ON CONFLICT REPLACE, size REAL, note TEXT UNIQUE ON CONFLICT REPLACE) STRICT",
)
INDEXES = (
    "",
    "CREATE INDEX drafts ON draft (size, note)",
    "CREATE INDEX drafts ON draft (note) WHERE size > 2",
    "CREATE INDEX drafts ON draft (lower(note), size)",
)
SCRAP = "CREATE TABLE scrap (draft REFERENCES draft (id) ON DELETE CASCADE ON UPDATE CASCADE, size INTEGER) STRICT"
LOCAL = (
    "INSERT INTO draft (id, size, note) VALUES (:key, :value, :text)",
    "INSERT INTO draft (id, size, note) VALUES (:key, :value, :text)",
    "INSERT OR REPLACE INTO draft (id, size, note) VALUES (:key, :value, :text) RETURNING id",
    "INSERT INTO draft (id, note) VALUES (:key, :text) ON CONFLICT DO UPDATE SET size = :value",
    "INSERT INTO draft (size, note) VALUES (:value, :text), (:key, 'c')",
    "UPDATE draft SET size = :value WHERE id = :key",
    "UPDATE draft SET note = :text, size = NULL WHERE size = :value",
    "UPDATE OR REPLACE draft SET id = :value, note = :text WHERE id = :key",
    "DELETE FROM draft WHERE size = :value",
    "DELETE FROM draft",
    "INSERT INTO scrap VALUES (:key, :value)",
    "UPDATE scrap SET size = size + 1 WHERE draft = :key",
    "DELETE FROM scrap WHERE size = :value",
)
COLUMNS = ("d.*", "d.id, d.size", "d.size, d.note, d.id", "d.note", "DISTINCT d.size", "upper(d.note) AS u, d.id")
COUNTS = ("count(*)", "count(*), count(size)", "sum(size)", "min(note), max(id)", "max(size)")
SOURCES = (
    "draft d",
    "draft d",
    "draft d JOIN item i ON i.id = d.id",
    "draft d LEFT JOIN scrap s ON s.draft = d.id AND s.size = 2",
    "item i LEFT JOIN draft d ON d.size = i.size",
    "scrap s JOIN draft d ON d.id = s.draft",
    "draft d JOIN bin b ON b.id = d.note",
)
TERMS = (
    ("d.id = ?", (3,)),
    ("d.size IN (?, 2)", (1,)),
    ("d.note = ?", ("a",)),
    ("d.size > 1 OR d.note = 'b'", ()),
    ("d.note IS NOT NULL", ()),
    ("d.id IN (SELECT size FROM item)", ()),
    ("NOT EXISTS (SELECT 1 FROM scrap WHERE scrap.draft = d.id)", ()),
)
TAILS = ("", "", " ORDER BY d.size DESC, d.id", " ORDER BY d.note, d.id LIMIT 2", " ORDER BY d.id", " LIMIT 3")


def a_declaration(dice: random.Random) -> str:
    draft = f"CREATE TABLE draft ({dice.choice(DRAFTS)}"
    return ";".join((draft, SCRAP.replace("draft R", "draft ANY R"), dice.choice(INDEXES)))


def a_query(dice: random.Random) -> tuple[str, tuple[Any, ...]]:
    terms = dice.sample(TERMS, dice.choice((0, 0, 1, 2)))
    where = " WHERE " + " AND ".join(text for text, _ in terms) if terms else ""
    given = tuple(value for _, values in terms for value in values)
    if dice.random() < 0.25:
        return f"SELECT {dice.choice(COUNTS)} FROM draft d{where}", given
    return f"SELECT {dice.choice(COLUMNS)} FROM {dice.choice(SOURCES)}{where}{dice.choice(TAILS)}", given


def a_local_change(dice: random.Random) -> tuple[str, dict[str, Any]]:
    text = dice.choice(("a", "b", "c", "Ab", None))
    return dice.choice(LOCAL), {"key": dice.randrange(6), "value": dice.randrange(5), "text": text}


def an_event(dice: random.Random) -> Written:
    text = dice.choice(("a", "b", "c", None))
    return Written(what=dice.randrange(len(STATEMENTS)), key=dice.randrange(6), value=dice.randrange(5), text=text)


def write_both(dice: random.Random, space: Space, done: Counter[str]) -> None:
    """Change local tables and append, in one transaction, which is sometimes undone."""
    with space.transaction() as tx:
        for _ in range(dice.randint(1, 3)):
            with contextlib.suppress(apsw.ConstraintError):
                tx.execute_local(*a_local_change(dice))
        with contextlib.suppress(EventRejected):
            tx.append(an_event(dice))
        if dice.random() < 0.3:
            done["undone"] += 1
            raise LookupError
    done["both"] += 1


def a_step(dice: random.Random, spaces: list[Space], done: Counter[str]) -> None:
    here, other = spaces
    match dice.randrange(12):
        case 0:
            exchange(here, other)
        case 1:
            with contextlib.suppress(EventRejected):
                other.append(an_event(dice), an_event(dice))
        case 2:
            entries = [entry.timestamp for entry in here.log() if entry.state is not State.RETRACTED]
            if entries:
                here.undo(dice.choice(entries))
        case 3:
            here.rebuild()
        case 4 | 5 | 6:
            with contextlib.suppress(LookupError):
                write_both(dice, here, done)
        case 7:
            with contextlib.suppress(EventRejected):
                here.append(an_event(dice))
        case _:
            with contextlib.suppress(apsw.ConstraintError):
                here.execute_local(*a_local_change(dice))
                done["local"] += 1


def run_a_history(dice: random.Random, done: Counter[str]) -> None:
    spaces = fleet(writing_app(a_declaration(dice)), 2)
    try:
        here = spaces[0]
        subscribers: list[Subscriber] = []
        for _ in range(25):
            while len(subscribers) < 12:
                subscribers.append(Subscriber(here, *a_query(dice)))
            before = [(one.calls, one.rows) for one in subscribers]
            a_step(dice, spaces, done)
            for one, (calls, rows) in zip(subscribers, before, strict=True):
                one.check(calls, rows)
                done["told"] += one.calls > calls
                done["kept"] += one.calls > calls and "FROM draft d" in one.sql and "JOIN" not in one.sql
            subscribers.pop(dice.randrange(12)).subscription.close()
    finally:
        for space in spaces:
            space.close()


RARE = 20
"""Of the cases of a kind, over all histories of the test: fewer test nothing."""


def test_what_is_told_of_local_tables_is_what_asking_again_gives(caplog: pytest.LogCaptureFixture) -> None:
    done: Counter[str] = Counter()

    for seed in range(24):
        run_a_history(random.Random(seed), done)

    assert "raised" not in caplog.text
    assert len(done) == 5
    assert min(done.values()) >= RARE, done
