"""Events are drawn from what their fields are declared to be, and every one of them can be appended."""

import enum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

from driftlog import App, Event, ViewTransaction
from driftlog.testing.story import Story
from driftlog.testing.strategies import STEPS_MAX, events, events_of, stories

TABLES = "CREATE TABLE seen (n INTEGER PRIMARY KEY) STRICT"


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Place(msgspec.Struct):
    x: int
    name: str | None


class Everything(Event):
    small: Annotated[int, msgspec.Meta(ge=1, lt=10, multiple_of=3)]
    amount: int
    ratio: float
    word: Annotated[str, msgspec.Meta(min_length=2, max_length=30)]
    code: Annotated[str, msgspec.Meta(pattern="^[a-f]+$")]
    data: bytes
    is_done: bool
    nothing: None
    colour: Colour
    size: Literal["s", "m"]
    place: Place
    either: int | str
    places: list[Place]
    pair: tuple[int, str]
    tags: set[str]
    counts: dict[str, int]
    later: int = 3


class Opaque(Event):
    what: Any


def app_of(*event_types: type[Event], floats: bool = True) -> App:
    app = App("org.example.drawn", tables=TABLES, floats=floats)

    def seen(tx: ViewTransaction, event: Event) -> None:
        tx.execute("INSERT INTO seen SELECT count(*) FROM seen")

    for event_type in event_types:
        app.on(event_type)(seen)
    return app


EVERYTHING = app_of(Everything)
FINDING = settings(max_examples=5_000, database=None, phases=[Phase.generate])
"""It is enough that it is drawn; the shortest that there is takes a hundred times as long."""


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(events(EVERYTHING), max_size=3))
def test_whatever_is_drawn_can_be_appended(drawn: list[Event]) -> None:
    with EVERYTHING.open(":memory:") as space:
        for event in drawn:
            space.append(event)
        assert space.status().events == len(drawn)


@pytest.mark.parametrize(
    "is_wanted",
    [
        lambda event: event.small == 9,
        lambda event: event.amount == 0,
        lambda event: abs(event.amount) > 1 << 40,
        lambda event: event.either == "a",
        lambda event: len(event.places) == 3,
    ],
)
def test_small_values_and_extreme_ones_are_drawn(is_wanted: Any) -> None:
    find(events(EVERYTHING), is_wanted, settings=FINDING)


def test_a_field_is_drawn_as_its_author_says() -> None:
    drawn = find(events_of(Everything, word=st.just("milk")), lambda _: True, settings=FINDING)
    assert drawn.word == "milk"


def test_a_name_that_no_event_has_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        TypeError, match=r"no event of app 'org.example.drawn' has a field 'words'; its fields are amount, "
    ):
        events(EVERYTHING, words=st.just("milk"))


def test_a_field_of_which_nothing_is_said_asks_for_a_strategy() -> None:
    with pytest.raises(TypeError, match=r"Opaque\.what: Any says nothing of what may stand there; give .* what=\.\.\."):
        events(app_of(Opaque))
    assert events(app_of(Opaque), what=st.integers(0, 3)) is not None


def test_an_app_without_floats_asks_for_something_else_in_their_place() -> None:
    with pytest.raises(TypeError, match=r"Everything\.ratio: the app is not declared with floats=True"):
        events(app_of(Everything, floats=False))


def test_an_app_without_materializers_has_no_events() -> None:
    with pytest.raises(TypeError, match="has no materializer"):
        events(app_of())


def test_a_story_needs_two_devices_and_has_letters_for_eight() -> None:
    for devices in (1, 9):
        with pytest.raises(ValueError, match=f"stories of {devices} devices; give 2 to 8"):
            stories(EVERYTHING, devices=devices)


@settings(max_examples=50, deadline=None)
@given(stories(EVERYTHING, devices=4))
def test_a_story_has_as_many_devices_as_take_part(story: Story) -> None:
    assert 2 <= story.devices <= 4
    assert len(story.steps) <= STEPS_MAX
