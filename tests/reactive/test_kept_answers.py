"""Answers that are kept up to date from changed rows: each is what asking again gives, and all ways of keeping are taken."""

import contextlib
import random
from collections import Counter
from typing import Any

import pytest

from driftlog import EventRejected, Space, State
from driftlog._reactive.difference import difference
from driftlog._reactive.plan import Plan
from driftlog._reactive.tally import Tally
from driftlog.space import lines
from driftlog.space.lines import Line, Watched
from driftlog.testing import exchange, fleet
from tests.reactive.test_answers_by_chance import STATEMENTS, Subscriber, Written, writing_app

COLUMNS = (
    "*",
    "i.*",
    "id, size, note",
    "i.note AS title, i.size, i.id, lower(i.note) AS l",
    "length(note) + size AS n, note, size, id",
    "id AS size, size AS id, note",
    "bin, size, note, upper(note) || 'x' u, id, typeof(any)",
    "id, max(size) AS most, size, note",
)
AGGREGATES = (
    "count(*)",
    "count(*)",
    "count(size)",
    "sum(size)",
    "sum(id)",
    "min(size)",
    "max(size)",
    "max(note)",
    "min(data)",
    "max(id)",
)
COUNTING = (
    "size > ?",
    "size = '2'",
    "note >= ?",
    "note = size",
    "note || 1 > 'b'",
    "id IN (1, 2, 3, 4)",
    "typeof(size) = 'integer'",
    "size BETWEEN 1 AND 3",
    "note LIKE 'A%'",
    "length(note) < size",
    "data < 'b'",
    "data = CAST(note AS BLOB)",
    "rowid > 2",
)
OF_BINS = (
    "SELECT * FROM bin ORDER BY label, id",
    "SELECT place, id, label FROM bin b WHERE place > 0 OR id = 'a' ORDER BY b.label DESC, b.id",
    "SELECT id FROM bin ORDER BY id DESC LIMIT 1",
    "SELECT * FROM bin",
    "SELECT place, id FROM bin WHERE place <> 2 LIMIT 2",
)
TERMS = (
    "i.size > 1",
    "i.size <= ? OR i.note = 'c'",
    "i.bin = 'a'",
    "note IS NOT NULL",
    "NOT (size = 2 AND id > 3)",
    "i.id IN (1, 2, 3, 4)",
    "any IS NOT 3",
    "note LIKE 'A%' OR size IS NULL",
)
ORDERS = (
    "id",
    "i.id DESC",
    "i.size, i.id",
    "size DESC, id DESC",
    "note, size DESC, id",
    "note DESC",
    "i.id, any",
    "bin, id",
)
LIMITS = ("", "", " LIMIT 3", " LIMIT 2", " LIMIT ?", " LIMIT 5 OFFSET 1")


def a_query(dice: random.Random) -> tuple[str, tuple[Any, ...]]:
    if dice.random() < 0.1:
        return dice.choice(OF_BINS), ()
    if dice.random() < 0.25:
        return a_count(dice)
    terms = dice.sample(TERMS, dice.choice((0, 1, 1, 2)))
    where = " WHERE " + dice.choice((" AND ", " OR ")).join(terms) if terms else ""
    limit = dice.choice(LIMITS)
    given = [dice.randrange(5) for _ in range(where.count("?"))] + [4] * limit.count("?")
    order = f" ORDER BY {dice.choice(ORDERS)}" if dice.random() < 0.7 else ""
    return f"SELECT {dice.choice(COLUMNS)} FROM item i{where}{order}{limit}", tuple(given)


def a_count(dice: random.Random) -> tuple[str, tuple[Any, ...]]:
    terms = dice.sample(COUNTING, dice.choice((0, 1, 1, 2)))
    where = " WHERE " + dice.choice((" AND ", " OR ")).join(terms) if terms else ""
    given = tuple(dice.choice((1, 2, "3", "b")) for _ in range(where.count("?")))
    columns = ", ".join(
        one + dice.choice(("", " AS n", " id")) for one in dice.sample(AGGREGATES, dice.choice((1, 1, 3)))
    )
    return f"SELECT {columns} FROM part{dice.choice((' p', ''))}{where}", given


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how answers come to be, and hold each difference that is told from changed rows to one that is compared."""
    counted: Counter[str] = Counter()
    follow, ask = lines._follow, Line._ask

    def following(connection: Any, watched: Watched, rows: Any) -> Any:
        before = watched.rows
        found = follow(connection, watched, rows)
        if found is not None:
            sample = (watched.rows or before)[:1]
            compared = difference(before, watched.rows, watched.key_of(sample[0]) if sample else None)
            assert (found.added, found.removed, found.changed) == (compared.added, compared.removed, compared.changed)
            assert len(found.moved) == len(compared.moved)
            counted["kept, a count"] += "count" in watched.sql
            counted["kept, a sum"] += watched.sums is not None
            counted["kept, a sum of nothing"] += watched.sums is not None and any(not one.count for one in watched.sums)
            counted["kept, a least or greatest"] += "min(" in watched.sql or "max(" in watched.sql
            counted["kept, and the same"] += not found
            for kind in ("added", "removed", "changed", "moved"):
                counted[f"kept, rows {kind}"] += bool(getattr(found, kind))
            counted["kept, a full window"] += isinstance(watched.plan, Plan) and watched.plan.limit == len(before)
            counted["kept, without ORDER BY"] += "ORDER BY" not in watched.sql
            counted["kept, several rows"] += len(rows) > 1
            counted["kept, several rows moved"] += len(found.moved) > 1
        elif isinstance(watched.plan, Tally) and rows is not None:
            counted["asked, as a least or greatest went"] += 1
        elif watched.plan is not None and rows is not None:
            is_window = isinstance(watched.plan, Plan) and watched.plan.limit == len(before)
            counted["asked, as a window lost a row" if is_window else "asked, as rows tie"] += 1
        else:
            counted["asked, no plan or no rows"] += 1
        return found

    def asking(self: Line, connection: Any, watched: Watched, *rest: Any) -> None:
        counted["due"] += 1
        ask(self, connection, watched, *rest)

    monkeypatch.setattr(lines, "_follow", following)
    monkeypatch.setattr(Line, "_ask", asking)
    return counted


def run_a_history(dice: random.Random, steps: int = 30, queries: int = 20) -> None:
    spaces = fleet(writing_app(), 2)
    try:
        here = spaces[0]
        subscribers: list[Subscriber] = []
        for _ in range(steps):
            while len(subscribers) < queries:
                subscribers.append(Subscriber(here, *a_query(dice)))
            before = [(one.calls, one.rows) for one in subscribers]
            a_step(dice, spaces)
            for one, (calls, rows) in zip(subscribers, before, strict=True):
                one.check(calls, rows)
            if dice.random() < 0.3:
                subscribers.pop(dice.randrange(queries)).subscription.close()
    finally:
        for space in spaces:
            space.close()


def a_step(dice: random.Random, spaces: list[Space]) -> None:
    space, other = dice.sample(spaces, 2)
    match dice.randrange(30):
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
                spaces[0].append(*(a_change(dice) for _ in range(dice.choice((1, 1, 1, 2, 5)))))


def a_change(dice: random.Random) -> Written:
    what = dice.choice((1, 2, 2, 2, 2, 2, 3, 3, 3, 4, 11, 11, 11, *range(12)))
    if dice.random() < 0.25:
        what = dice.randrange(12, len(STATEMENTS))
    text = dice.choice(("a", "b", "c", "Ab", None))
    return Written(what=what, key=dice.randrange(12), value=dice.choice((0, 1, 2, 3, 4, 5, 3, 5)), text=text)


WAYS = 18
RARE = 6
"""Of the cases of a way, over all histories of the test: fewer test nothing."""


def test_kept_answers_are_what_asking_again_gives_in_every_way_of_keeping(
    ways: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    for seed in range(30):
        run_a_history(random.Random(seed))

    assert "raised" not in caplog.text
    assert {way: count for way, count in ways.items() if count < RARE} == {}, ways
    assert len(ways) == WAYS, ways
