"""What an app's author sees of `check_convergence`: nothing for an app without mistakes, the shortest story for others."""

import time
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from driftlog import App, Event, Space, ViewTransaction, reject
from driftlog.testing import Diverged, check_convergence, play
from driftlog.testing.story import Appends, ClockIsOff, Meets, Story, Undoes, told
from driftlog.testing.strategies import events

TABLES = "CREATE TABLE seat (name TEXT PRIMARY KEY, taken_by TEXT NOT NULL, n INTEGER NOT NULL) STRICT"


class Taken(Event):
    name: str
    by: str


class Left(Event):
    name: str


class Mistake:
    """What a materializer asks for a number that should be 0; each test has its own."""

    def __init__(self) -> None:
        self.count = 0
        self.names: set[str] = set()

    def none(self, _: str) -> int:
        return 0

    def counts(self, _: str) -> int:
        self.count += 1
        return self.count

    def looks_at_the_clock(self, _: str) -> int:
        return int(time.time()) // 86_400

    def remembers(self, name: str) -> int:
        is_known = name in self.names
        self.names.add(name)
        return int(is_known)


def seats(mistake: str = "none") -> App:
    number_for = getattr(Mistake(), mistake)
    app = App("org.example.seats", tables=TABLES)

    @app.on(Taken)
    def taken(tx: ViewTransaction, event: Taken) -> None:
        tx.execute("INSERT INTO seat VALUES (?, ?, ?)", (event.name, event.by, number_for(event.name)))

    @app.on(Left)
    def left(tx: ViewTransaction, event: Left) -> None:
        if tx.one("SELECT 1 FROM seat WHERE name = ?", (event.name,)) is None:
            reject("nobody sits there")
        tx.execute("DELETE FROM seat WHERE name = ?", (event.name,))

    return app


def quickly(examples: int = 100) -> settings:
    return settings(max_examples=examples, database=None, deadline=None, print_blob=False)


@pytest.mark.slow
def test_an_app_whose_materializers_look_at_nothing_else_passes() -> None:
    check_convergence(seats(), settings=quickly(40))


@pytest.mark.parametrize("mistake", ["counts", "looks_at_the_clock", "remembers"])
def test_a_materializer_that_looks_at_more_is_found_with_a_story_of_one_step(mistake: str) -> None:
    with pytest.raises(Diverged, match="in table seat, row ") as found:
        check_convergence(seats(mistake), settings=quickly())

    assert len(found.value.story.steps) == 1
    text = str(found.value)
    assert "The story:\n  1. A appends Taken(name='a', by='a')\n" in text
    assert "Falsifying example" not in "".join([text, *getattr(found.value, "__notes__", [])])
    assert "check_determinism says which" in text


def test_what_comes_to_something_else_when_it_is_played_again_is_told_as_that() -> None:
    with pytest.raises(Diverged) as found:
        check_convergence(seats("remembers"), settings=quickly())

    assert "Played again, the same story came to something else" in found.value.__notes__[0]


@pytest.mark.slow
def test_an_invariant_that_only_one_device_can_keep_is_found_to_break_when_they_meet() -> None:
    app = App("org.example.lot", tables="CREATE TABLE car (name TEXT PRIMARY KEY) STRICT")

    @app.on(Taken)
    def taken(tx: ViewTransaction, event: Taken) -> None:
        tx.execute("INSERT INTO car VALUES (?) ON CONFLICT DO NOTHING", (event.name,))

    def has_room(space: Space) -> None:
        assert len(space.query("SELECT * FROM car")) < 2, "two cars stand in one place"

    with pytest.raises(Diverged, match="an invariant does not hold at A when all have met: two cars") as found:
        check_convergence(app, events(app, by=st.just("x")), invariant=has_room, settings=quickly())

    assert isinstance(found.value.__cause__, AssertionError)
    with pytest.raises(Diverged, match="two cars"):
        play(app, found.value.story, invariant=has_room)


def test_an_invariant_that_says_nothing_is_shown_as_it_is_written() -> None:
    def has_none(space: Space) -> None:
        if space.query("SELECT * FROM seat"):
            raise AssertionError  # as a bare assert does where pytest rewrites nothing

    with pytest.raises(Diverged, match="when all have met: raise AssertionError"):
        play(seats(), Story(2, (Appends(0, (Taken(name="a", by="b"),)),)), invariant=has_none)


def test_an_invariant_that_answers_and_does_not_assert_is_refused() -> None:
    with pytest.raises(TypeError, match="the invariant returned False, which fails nothing; let it assert"):
        play(seats(), Story(2, ()), invariant=lambda _: False)


def test_what_else_is_raised_is_passed_on_with_the_story_in_words() -> None:
    def broken(space: Space) -> None:
        if space.query("SELECT * FROM seat"):
            raise LookupError("nobody has written this")

    with pytest.raises(LookupError) as found:
        check_convergence(seats(), invariant=broken, settings=quickly())

    assert "convergence_of_" not in "".join(found.value.__notes__)
    assert found.value.__notes__[-1:] == ["It was raised in this story:\n  1. A appends Taken(name='a', by='a')"]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Meets(0, 2), "step 1 is of device 2, and there are 2, from 0 on"),
        (Undoes(-1, 0), "step 1 is of device -1"),
        (Appends(0, Left(name="1")), r"step 1 appends Left\(name='1'\); give a tuple of events"),  # type: ignore[arg-type]  # the mistake
        ("A appends nothing", "step 1 is 'A appends nothing'; give Appends, Undoes, Meets or ClockIsOff"),
    ],
)
def test_a_story_that_cannot_be_played_is_refused_when_it_is_written(step: Any, said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        Story(2, (step,))


def test_a_story_that_was_found_is_played_again_as_a_test_of_its_own() -> None:
    ann_is_late = Story(
        2,
        (
            ClockIsOff(1, -3_600_000),
            Appends(0, (Taken(name="1", by="ann"),)),
            Appends(1, (Taken(name="1", by="bob"),)),
            Meets(0, 1),
            Undoes(0, 0),
        ),
    )

    def bob_or_nobody_sits(space: Space) -> None:
        assert space.query("SELECT taken_by FROM seat") in ([("bob",)], [("ann",)])

    play(seats(), ann_is_late, invariant=bob_or_nobody_sits)


def test_what_is_refused_where_it_is_made_is_told() -> None:
    story = Story(2, (Appends(0, (Left(name="1"),)), Undoes(0, 0)))

    def never(_: Space) -> None:
        raise AssertionError("never")

    with pytest.raises(Diverged) as found:
        play(seats(), story, invariant=never)

    assert "1. A appends Left(name='1'), refused at once: nobody sits there" in str(found.value)
    assert "2. A undoes its latest event, and has none" in str(found.value)


def test_an_event_that_cannot_be_appended_at_all_is_the_strategys_fault_and_passed_on() -> None:
    with pytest.raises(Exception, match="NUL"):
        check_convergence(seats(), st.just(Taken(name="\0", by="x")), settings=quickly(5))


def test_steps_are_told_in_words() -> None:
    assert told(Meets(0, 2)) == "A and C meet"
    assert told(ClockIsOff(1, 0)) == "B's clock is right"
    assert told(ClockIsOff(1, -86_400_000)) == "B's clock is 1 d slow"
    assert told(ClockIsOff(1, 1_500)) == "B's clock is 1500 ms fast"
    assert told(Undoes(0, 2)) == "A undoes the event 2 before its latest"
    assert str(Story(2, ())) == "  nothing happens"
    assert str(Story(2, (Meets(0, 1),))) == "  1. A and B meet"
