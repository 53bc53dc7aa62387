"""Keeping an answer, without SQLite: held to sorting all rows anew and comparing the two answers."""

import random
from collections import Counter

import pytest

from driftlog._reactive.difference import difference
from driftlog._reactive.keeping import kept, sort_key
from driftlog._reactive.plan import Plan
from driftlog._sqlite.rows import Row, row_class

ROW = row_class(("id", "size", "text"))


def a_plan(order: tuple[tuple[int, bool], ...], limit: int | None) -> Plan:
    return Plan("", (), ("key",), (0,), (0,), order, limit)


def a_row(dice: random.Random, key: int, values: int) -> Row:
    return ROW((key, dice.choice((None, *range(values))), dice.choice("abc")))


def answer(plan: Plan, rows: dict[int, Row]) -> tuple[Row, ...]:
    return tuple(sorted(rows.values(), key=lambda row: sort_key(plan, row))[: plan.limit])


@pytest.mark.parametrize("limit", [None, 1, 4, 9])
@pytest.mark.parametrize("order", [((0, False),), ((1, False), (0, True)), ((2, True), (1, True), (0, False))])
def test_what_is_kept_is_what_sorting_again_gives(order: tuple[tuple[int, bool], ...], limit: int | None) -> None:
    ways = sort_again(order, limit)

    assert ways["kept"] > 100
    assert (ways["moved"] > 20) is (len(order) > 1 and limit != 1)
    assert (ways["asked"] > 20) is (limit is not None)


def sort_again(order: tuple[tuple[int, bool], ...], limit: int | None) -> Counter[str]:
    """Change rows by chance, hold what is kept to sorting all of them, and count how it went."""
    dice = random.Random(f"{order} {limit}")
    plan = a_plan(order, limit)
    ways: Counter[str] = Counter()
    for _ in range(150):
        rows = {key: a_row(dice, key, 5) for key in dice.sample(range(16), dice.randrange(13))}
        keeping = kept(plan, answer(plan, rows))
        for _ in range(4):
            assert keeping is not None
            before = keeping.rows
            changed = dice.sample(range(16), dice.choice((1, 1, 2, 3, 8)))
            for key in changed:
                rows.pop(key, None)
                if dice.random() < 0.7:
                    rows[key] = a_row(dice, key, 5)

            found = keeping.update({(key,): rows.get(key) for key in changed})

            after = answer(plan, rows)
            if found is None:
                ways["asked"] += 1
                assert len(before) == limit, "only a window can lack a row"
                keeping = kept(plan, after)
                continue
            compared = difference(before, after, plan.key_of)
            assert keeping.rows == after
            assert found.apply(before) == list(after)
            assert (found.added, found.removed, found.changed) == (compared.added, compared.removed, compared.changed)
            assert len(found.moved) == len(compared.moved)
            ways["kept"] += 1
            ways["moved"] += bool(found.moved)
    return ways


def test_rows_that_tie_are_asked_for() -> None:
    plan = a_plan(((1, False),), None)
    one, other, tied = ROW((1, 1, "a")), ROW((2, 2, "a")), ROW((3, 2, "a"))

    assert kept(plan, (one, other, tied)) is None
    keeping = kept(plan, (one, other))
    assert keeping is not None
    assert keeping.update({(3,): tied}) is None


def test_an_answer_that_shows_a_key_twice_or_none_is_not_kept() -> None:
    plan = a_plan(((1, False),), None)

    assert kept(plan, (ROW((1, 1, "a")), ROW((1, 2, "a")))) is None
    assert kept(plan, (ROW((None, 1, "a")), ROW((1, 2, "a")))) is None


def test_blocks_of_rows_move_where_that_is_fewer_than_the_changed_ones() -> None:
    plan = a_plan(((1, False),), None)
    before = tuple(ROW((key, key, "a")) for key in range(6))
    keeping = kept(plan, before)
    assert keeping is not None

    found = keeping.update({(key,): ROW((key, key + 10, "a")) for key in range(4)})

    assert found is not None
    assert [(one.before, one.index) for one in found.moved] == [(4, 0), (5, 1)]
    assert len(found.changed) == 4
