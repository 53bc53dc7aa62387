"""What was rejected, told with what it lost against: the latest writers of the rows it came across."""

from collections.abc import Callable, Iterator
from os import urandom

import pytest

from driftlog import App, Event, Space, State, Timestamp, ViewTransaction, reject
from driftlog._store import losses
from driftlog.errors import AppChanged, Closed
from driftlog.testing import exchange, fleet
from tests.stories import app as stories_app
from tests.stories import put, seat
from tests.todo_app import Clock, TodoAdded, TodoCompleted, TodoRemoved, TodoRenamed, todo_app

APP = todo_app()


class Fleet(list[Space]):
    """Devices of one space whose clocks follow one another, so that what is said first comes first."""

    def __init__(self, app: App, n: int, entropy: Callable[[int], bytes] = urandom) -> None:
        self.clocks = [Clock() for _ in range(n)]
        super().__init__(fleet(app, n, clocks=self.clocks, entropy=entropy))

    def says(self, device: int, *events: Event) -> Timestamp:
        for clock in self.clocks:
            clock.now_ms += 1
        return self[device].append(*events)[-1]


@pytest.fixture
def two() -> Iterator[Fleet]:
    spaces = Fleet(APP, 2)
    yield spaces
    for space in spaces:
        space.close()


def lost(space: Space) -> list[tuple[Timestamp, tuple[Timestamp, ...]]]:
    return [(entry.timestamp, entry.lost_to) for entry in space.rejected()]


def test_nothing_rejected_is_an_empty_list(two: Fleet) -> None:
    assert two[0].rejected() == []

    two.says(0, TodoAdded("1", "milk"))

    assert two[0].rejected() == []


def test_a_rejected_event_is_told_whole_and_with_its_reason_on_every_device(two: Fleet) -> None:
    winner = two.says(0, TodoAdded("1", "milk"))
    loser = two.says(1, TodoAdded("1", "bread"))
    exchange(*two)

    for space in two:
        [entry] = space.rejected()
        assert entry.timestamp == loser
        assert entry.event == TodoAdded("1", "bread")
        assert entry.state is State.REJECTED
        assert entry.reason == "UNIQUE constraint failed: todo.id"
        assert entry.lost_to == (winner,)
        [shown] = [logged for logged in space.log() if logged.timestamp == loser]
        assert (entry.name, entry.version, entry.wall_ms) == (shown.name, shown.version, shown.wall_ms)
        assert [(row.hlc, row.reason) for row in space.query("SELECT * FROM driftlog_rejected")] == [
            (loser.hlc, entry.reason)
        ]


def test_of_several_that_wrote_the_row_the_latest_before_it_is_named(two: Fleet) -> None:
    two.says(0, TodoAdded("1", "milk"))
    latest = two.says(0, TodoRenamed("1", "oat milk"))
    two.says(0, TodoAdded("2", "another row"))
    loser = two.says(1, TodoAdded("1", "bread"))
    two.says(0, TodoRenamed("1", "after it"))
    exchange(*two)

    assert lost(two[0]) == lost(two[1]) == [(loser, (latest,))]


def test_what_was_looked_for_and_gone_is_lost_to_whoever_removed_it(two: Fleet) -> None:
    two.says(0, TodoAdded("1", "milk"))
    exchange(*two)
    removed = two.says(0, TodoRemoved("1"))
    completed = two.says(1, TodoCompleted("1"))
    exchange(*two)

    assert lost(two[1]) == [(completed, (removed,))]


def test_several_are_in_order_and_each_has_its_own(two: Fleet) -> None:
    one, other = two.says(0, TodoAdded("1", "a")), two.says(0, TodoAdded("2", "b"))
    first, second, third = (two.says(1, TodoAdded(id_, "c")) for id_ in ("2", "1", "3"))
    exchange(*two)

    assert lost(two[0]) == lost(two[1]) == [(first, (other,)), (second, (one,))]
    assert third not in dict(lost(two[0]))


def test_who_was_rejected_itself_is_no_winner() -> None:
    three = Fleet(APP, 3)
    winner = three.says(0, TodoAdded("1", "milk"))
    losers = [three.says(device, TodoAdded("1", "bread")) for device in (1, 2)]
    for _ in range(2):
        exchange(three[0], three[1])
        exchange(three[0], three[2])

    assert lost(three[1]) == [(loser, (winner,)) for loser in losers]


def test_a_taken_value_of_a_unique_column_names_nobody_because_sqlite_does_not_say_which_row_holds_it() -> None:
    spaces = Fleet(stories_app, 2)
    spaces.says(0, seat(1, "Ann"))
    loser = spaces.says(1, seat(2, "Ann"))
    exchange(*spaces)

    assert lost(spaces[0]) == [(loser, ())]


def test_a_key_of_several_columns_is_one_row() -> None:
    spaces = Fleet(stories_app, 2)
    spaces.says(0, put("grid", 1, 2, "a"))
    taken = spaces.says(0, put("grid", 1, 1, "b"))
    loser = spaces.says(1, put("grid", 1, 1, "b"))
    exchange(*spaces)

    assert lost(spaces[0]) == [(loser, (taken,))]


def test_a_table_of_which_no_single_row_can_be_proved_names_nobody() -> None:
    spaces = Fleet(stories_app, 2)
    spaces.says(0, put("word", "milk", 1))
    loser = spaces.says(1, put("word", "MILK", 1))
    exchange(*spaces)

    assert lost(spaces[0]) == [(loser, ())]


class Counted(Event):
    id: str


def test_what_looked_at_a_whole_table_names_nobody() -> None:
    app = App("org.example.counted", tables="CREATE TABLE item (id TEXT PRIMARY KEY) STRICT")

    @app.on(Counted)
    def counted(tx: ViewTransaction, event: Counted) -> None:
        if len(tx.query("SELECT id FROM item")) >= 1:
            reject("full")
        tx.execute("INSERT INTO item VALUES (?)", (event.id,))

    spaces = Fleet(app, 2)
    spaces.says(0, Counted("1"))
    loser = spaces.says(1, Counted("2"))
    exchange(*spaces)

    assert lost(spaces[0]) == [(loser, ())]


def test_the_search_for_one_ends_at_its_bound_and_goes_on_for_the_others(
    two: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "LOOK_BACK_EVENTS_MAX", 3)
    winner = two.says(0, TodoAdded("1", "milk"))
    near = two.says(0, TodoAdded("2", "bread"))
    for number in range(3, 5):
        two.says(0, TodoAdded(str(number), "more"))
    # `near` is the third event before it, which is still looked at; `winner` is the fourth.
    found, unfound = two.says(1, TodoAdded("2", "a")), two.says(1, TodoAdded("1", "b"))
    exchange(*two)

    assert lost(two[0]) == [(found, (near,)), (unfound, ())]
    monkeypatch.setattr(losses, "LOOK_BACK_EVENTS_MAX", 4)
    assert lost(two[0]) == [(found, (near,)), (unfound, (winner,))]


def test_a_verdict_of_another_version_of_the_app_is_not_explained_by_this_one(two: Fleet) -> None:
    with two[0]._engine.writing() as store:
        store.meta.set("view", b"another version's")

    with pytest.raises(AppChanged):
        two[0].rejected()


def test_a_closed_space_says_so(two: Fleet) -> None:
    two[0].close()

    with pytest.raises(Closed):
        two[0].rejected()
