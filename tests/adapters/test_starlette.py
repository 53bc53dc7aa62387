"""Answers in a browser: what is sent, what a connection that was lost has missed, and what is left when a browser goes."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from driftlog import Answer, Space, errors, starlette
from driftlog.starlette import LiveResponse
from tests.adapters.browser import Browser, served
from tests.todo_app import TodoAdded, TodoCompleted, TodoRemoved, TodoRenamed, todo_app

ALL = "SELECT id, text, done FROM todo ORDER BY text, id"


@pytest.fixture
def space() -> Iterator[Space]:
    with todo_app().open(":memory:") as space:
        yield space


def fill(space: Space, count: int) -> None:
    space.append(*(TodoAdded(id=f"{number:03}", text=f"todo {number:03}") for number in range(count)))


def rows_of(space: Space) -> list[dict[str, Any]]:
    return [row._asdict() for row in space.query(ALL)]


def told(
    space: Space, story: Callable[[Browser], Coroutine[Any, Any, None]], *, sql: str = ALL, **options: Any
) -> None:
    """Run a story with a browser before a server that streams a query at `/`."""

    async def todos(request: Request) -> Response:
        return LiveResponse(request, space, sql, **options)

    async def run() -> None:
        async with served(Starlette(routes=[Route("/", todos)])) as port:
            browser = Browser(port)
            try:
                await story(browser)
            finally:
                await browser.leave()

    asyncio.run(run())


async def until(is_so: Callable[[], bool]) -> None:
    """Let the loop go round until something is so."""
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(0)


def test_first_the_whole_answer_is_sent_and_then_differences(space: Space) -> None:
    fill(space, 20)

    async def story(browser: Browser) -> None:
        await browser.connect()
        assert browser.status == b"HTTP/1.1 200 OK"
        assert browser.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert browser.headers["cache-control"] == "no-store"
        assert (await browser.next()).name == "answer"
        assert browser.rows == rows_of(space)

        for event, difference in (
            (TodoCompleted(id="003"), {"changed": [[3, {"id": "003", "text": "todo 003", "done": 1}]]}),
            (TodoRemoved(id="007"), {"removed": [7]}),
            (TodoAdded(id="a", text="a"), {"added": [[0, {"id": "a", "text": "a", "done": 0}]]}),
            (TodoRenamed(id="a", text="b"), {"changed": [[0, {"id": "a", "text": "b", "done": 0}]]}),
            (
                TodoRenamed(id="a", text="z"),
                {"moved": [[0, 19]], "changed": [[19, {"id": "a", "text": "z", "done": 0}]]},
            ),
        ):
            space.append(event)
            sent = await browser.next()
            assert sent.name == "difference"
            assert {part: value for part, value in sent.data.items() if value} == difference
            assert browser.rows == rows_of(space)

    told(space, story)


def test_who_comes_back_to_the_answer_that_it_has_is_sent_nothing(space: Space) -> None:
    fill(space, 3)

    async def story(browser: Browser) -> None:
        await browser.connect()
        await browser.next()
        await browser.leave()
        space.append(TodoAdded(id="a", text="a"))
        space.append(TodoRemoved(id="a"))

        await browser.connect()
        assert (await browser.next()).name == "", "a comment, so that the browser knows that it is connected"
        space.append(TodoCompleted(id="001"))
        assert (await browser.next()).name == "difference"
        assert browser.rows == rows_of(space)

    told(space, story)


def test_who_comes_back_later_is_sent_one_difference_from_what_it_has(space: Space) -> None:
    fill(space, 20)

    async def story(browser: Browser) -> None:
        await browser.connect()
        await browser.next()
        await browser.leave()
        space.append(TodoAdded(id="a", text="a"), TodoCompleted(id="004"))
        space.append(TodoRemoved(id="002"))

        await browser.connect()
        sent = await browser.next()
        assert sent.name == "difference"
        assert [len(sent.data[part]) for part in ("added", "removed", "changed", "moved")] == [1, 1, 1, 0]
        assert browser.rows == rows_of(space)

    told(space, story)


def test_an_id_of_a_query_with_other_columns_is_answered_with_the_whole_answer(space: Space) -> None:
    fill(space, 20)
    ids: list[str] = []

    async def asks_for_less(browser: Browser) -> None:
        await browser.connect()
        await browser.next()
        ids.append(browser.last_id)

    async def comes_with_its_id(browser: Browser) -> None:
        [browser.last_id] = ids
        await browser.connect()
        assert (await browser.next()).name == "answer"
        assert [row["id"] for row in browser.rows] == [row["id"] for row in rows_of(space)]

    told(space, asks_for_less, sql="SELECT done FROM todo ORDER BY text, id")
    told(space, comes_with_its_id, sql="SELECT text, done, id FROM todo ORDER BY text, id")


def test_another_server_that_knows_nothing_of_the_id_sends_the_whole_answer_or_nothing(space: Space) -> None:
    fill(space, 20)

    async def story(browser: Browser) -> None:
        await browser.connect()
        await browser.next()
        await browser.leave()
        starlette._states_by_space.clear()
        await browser.connect()
        assert (await browser.next()).name == ""

        await browser.leave()
        starlette._states_by_space.clear()
        space.append(TodoCompleted(id="004"))
        await browser.connect()
        assert (await browser.next()).name == "answer"
        assert browser.rows == rows_of(space)

    told(space, story)


@pytest.mark.parametrize("seed", range(3))
def test_whenever_the_connection_breaks_nothing_is_missed_or_doubled(space: Space, seed: int) -> None:
    dice = random.Random(seed)
    fill(space, 15)

    def change() -> None:
        ids = [row.id for row in space.query("SELECT id FROM todo")]
        event = dice.choice(
            [
                TodoAdded(id=str(dice.random()), text=str(dice.random())),
                TodoRenamed(id=dice.choice(ids), text=str(dice.random())),
                TodoRemoved(id=dice.choice(ids)),
                TodoCompleted(id=dice.choice(ids)),
            ]
        )
        space.append(event)

    async def story(browser: Browser) -> None:
        await browser.connect()
        await browser.next()
        for _ in range(60):
            for _ in range(dice.choice([0, 1, 1, 3])):
                change()
            if dice.random() < 0.3:
                # Whatever was on its way, whole or half, was not seen.
                await browser.leave()
                for _ in range(dice.choice([0, 0, 1, 5])):
                    change()
                await browser.connect()
            before = browser.rows
            if dice.random() < 0.2:
                continue
            while browser.rows != rows_of(space):
                await browser.next()
                assert browser.rows != before or browser.events[-1].name == "", "an event is a change"
        names = [event.name for event in browser.events]
        assert names.count("answer") == 1, "all others could be differences"

    told(space, story)


def test_a_difference_that_would_be_longer_is_sent_as_the_whole_answer(space: Space) -> None:
    fill(space, 20)

    async def story(browser: Browser) -> None:
        await browser.connect()
        await browser.next()
        space.append(*(TodoCompleted(id=f"{number:03}") for number in range(20)))
        assert (await browser.next()).name == "answer"
        assert browser.rows == rows_of(space)

    told(space, story)


def test_who_wants_no_differences_is_sent_whole_answers(space: Space) -> None:
    fill(space, 20)

    async def story(browser: Browser) -> None:
        await browser.connect()
        await browser.next()
        space.append(TodoCompleted(id="001"))
        assert (await browser.next()).name == "answer"
        await browser.leave()
        space.append(TodoCompleted(id="002"))
        await browser.connect()
        assert (await browser.next()).name == "answer"

    told(space, story, differences=False)


def test_while_nothing_changes_there_are_signs_of_life(space: Space) -> None:
    async def story(browser: Browser) -> None:
        await browser.connect()
        await browser.next()
        assert [(await browser.next()).name for _ in range(3)] == ["", "", ""]
        space.append(TodoAdded(id="a", text="a"))
        while not (await browser.next()).name:
            pass
        assert browser.rows == rows_of(space)

    told(space, story, heartbeat_s=0.005)


def test_when_the_browser_goes_the_subscription_ends(space: Space) -> None:
    async def story(browser: Browser) -> None:
        await browser.connect()
        await browser.next()
        assert space._engine.live._watched
        await browser.leave()
        await until(lambda: not space._engine.live._watched)

    told(space, story)


def test_when_the_browser_goes_while_it_is_sent_something_the_subscription_ends(space: Space) -> None:
    space.append(TodoAdded(id="a", text="a" * 100_000))

    async def story(browser: Browser) -> None:
        await browser.connect(receive_buffer=1 << 14)
        assert space._engine.live._watched
        await browser.leave()
        await until(lambda: not space._engine.live._watched)

    told(space, story, sql=f"SELECT {' || '.join(['text'] * 100)} AS text FROM todo")


def test_whoever_reads_slowly_is_sent_the_newest_answer_and_few_in_between(space: Space) -> None:
    space.append(TodoAdded(id="a", text=""))
    wide = "SELECT text || text || text AS text FROM todo"
    handed: list[int] = []

    async def story(browser: Browser) -> None:
        await browser.connect(receive_buffer=1 << 14)
        await browser.next()
        [watched] = space._engine.live._watched.values()
        [subscription] = watched.subscriptions
        callback = subscription.callback

        def count(answer: Answer) -> None:
            handed.append(len(answer))
            callback(answer)

        subscription.callback = count
        for number in range(100):
            space.append(TodoRenamed(id="a", text=f"{number:03}" * 33_000))
            await until(lambda: len(handed) > number)  # noqa: B023 - it is asked before the number changes

        while browser.rows[0]["text"] != "099" * 99_000:
            await browser.next()
        # Of 30 MB, what fits into the buffers of the sockets and the server, and the last.
        assert len(browser.events) < 30

    told(space, story, sql=wide)


def test_when_the_space_is_closed_the_stream_ends(space: Space) -> None:
    async def story(browser: Browser) -> None:
        await browser.connect()
        await browser.next()
        space.close()
        with pytest.raises(asyncio.IncompleteReadError):
            await browser.next()

    told(space, story)


def test_who_asks_for_the_head_alone_is_answered_at_once(space: Space) -> None:
    async def story(browser: Browser) -> None:
        await browser.connect(method="HEAD")
        assert browser.headers["content-type"] == "text/event-stream; charset=utf-8"
        with pytest.raises(asyncio.IncompleteReadError):
            await browser.next()
        assert not space._engine.live._watched

    told(space, story)


def test_a_query_that_is_refused_is_an_error_before_anything_is_sent(
    space: Space, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(browser: Browser) -> None:
        await browser.connect()
        assert browser.status == b"HTTP/1.1 500 Internal Server Error"

    told(space, story, sql="DELETE FROM todo")
    assert any(record.exc_info and record.exc_info[0] is errors.ForbiddenSQL for record in caplog.records)


def test_a_query_that_cannot_be_run_any_more_breaks_the_stream_off(
    space: Space, caplog: pytest.LogCaptureFixture
) -> None:
    fill(space, 1)

    async def story(browser: Browser) -> None:
        await browser.connect()
        await browser.next()
        space.append(TodoAdded(id="a", text="a"))
        with pytest.raises(asyncio.IncompleteReadError):
            await browser.next()
        assert not space._engine.live._watched

    told(space, story, sql="SELECT sum(9223372036854775807) AS n FROM todo")
    assert "integer overflow" in caplog.text


def test_what_is_remembered_is_bounded(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starlette, "ANSWERS_MAX", 3)
    states = starlette._states_of(space)
    fill(space, 5)
    ids = []
    for number in range(5):
        ids.append(states.enter(tuple(space.query(ALL))).id)
        space.append(TodoRemoved(id=f"{number:03}"))
    assert [states.find(one) is not None for one in ids] == [False, False, True, True, True]

    monkeypatch.setattr(starlette, "BYTES_MAX", 100)
    states.enter(())
    assert states._bytes == sum(state.size for state in states._state_by_id.values()) <= 100
    fill(space, 10)
    long = states.enter(tuple(space.query(ALL)))
    assert states.find(long.id) is None
    assert states._state_by_id, "one that is too long drives out none of the others"


def test_all_who_ask_the_same_are_one_answer_to_hash(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(space, 3)
    states = starlette._states_of(space)
    rows = tuple(space.query(ALL))
    first = states.enter(rows)
    monkeypatch.setattr(starlette, "blake2b", None)

    assert states.enter(rows) is first


def test_bytes_are_base64_and_no_number_is_null(space: Space) -> None:
    async def story(browser: Browser) -> None:
        await browser.connect()
        await browser.next()
        assert browser.rows == [{"a": "AAH/", "b": None, "c": 1.5, "d": "\u2028\n"}]

    told(space, story, sql="SELECT x'0001ff' AS a, NULL AS b, 1.5 AS c, char(8232, 10) AS d")
