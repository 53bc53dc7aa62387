"""Events that no event may be: refused where they are made, with words that say what to change, and nothing recorded.

What a materializer may not do is in `test_bad_handlers.py`, bad files and links in `test_bad_files.py`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Thread
from typing import Any

import pytest

from driftlog import App, Event, Space, Timestamp, ViewTransaction
from driftlog.errors import Closed, DriftlogError, InvalidApp, InvalidEvent
from tests.todo_app import TABLES, TodoAdded, TodoCompleted, todo_app


class Said(Event):
    """Says anything: `Any`, so that nothing but the value domain stands in the way."""

    what: Any


class Counted(Event):
    count: int


class NeverDeclared(Event):
    what: str


def app(*, floats: bool = False) -> App:
    app = App("org.example.bad", tables="CREATE TABLE heard (id TEXT PRIMARY KEY) STRICT", floats=floats)

    @app.on(Said)
    def said(tx: ViewTransaction, event: Said) -> None:
        tx.execute("INSERT INTO heard (id) VALUES (?)", (tx.new_id(),))

    @app.on(Counted)
    def counted(tx: ViewTransaction, event: Counted) -> None:
        tx.execute("INSERT INTO heard (id) VALUES (?)", (tx.new_id(),))

    return app


@pytest.fixture
def space() -> Iterator[Space]:
    with app().open(":memory:") as space:
        yield space


def assert_untouched(space: Space) -> None:
    """The refused event left no trace, and the next one is welcome."""
    assert list(space.log()) == []
    assert space.query("SELECT * FROM heard") == []
    [stamp] = space.append(Counted(count=1))
    assert [entry.timestamp for entry in space.log()] == [stamp]
    assert len(space.query("SELECT * FROM heard")) == 1


def endless() -> list[object]:
    held: list[object] = []
    held.append(held)
    return held


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


REFUSED = {
    "a float": (1.5, "what is the float 1.5; use an integer of a smaller unit"),
    "a NaN": (float("nan"), "what is the float nan; use an integer"),
    "a lone surrogate": ("a\ud800b", r"a lone surrogate, '\\ud800'\); decode it with errors='replace'"),
    "a surrogate in a key": ({"\udfff": 1}, "a lone surrogate"),
    "a NUL": ("a\0b", "what holds a NUL character; remove it"),
    "a NUL in a list": (["fine", "a\0b"], r"what\[1\] holds a NUL character; remove it"),
    "a NUL in a key": ({"a\0b": 1}, "keys are text without NUL"),
    "2**63": (1 << 63, "what is 9223372036854775808, outside 64 signed bits; use text"),
    "2**64": (1 << 64, "Said cannot be encoded: can't serialize ints"),
    "-2**63 - 1": (-(1 << 63) - 1, "Said cannot be encoded: can't serialize ints"),
    "too large a payload": ("x" * 200_000, r"the payload has 2\d{5} bytes \(limit 131072\)"),
    "an aware datetime": (datetime(2026, 11, 23, tzinfo=UTC), "what is a datetime; use text, an integer or bytes"),
    "a key that is no text": ({1: "a"}, "what has a key that is not text; keys are text"),
    "an object": (object(), "Said cannot be encoded: .*object"),
    "a function": (print, "Said cannot be encoded: .*builtin_function"),
    "a complex number": (1j, "Said cannot be encoded: .*complex"),
    "17 levels": (nested(17), "nested deeper than 16 levels"),
    "a list that holds itself": (endless(), "Said cannot be encoded: .*recursion"),
}


@pytest.mark.parametrize(("value", "message"), REFUSED.values(), ids=REFUSED)
def test_a_value_outside_the_domain_is_refused_by_name_and_nothing_is_recorded(
    space: Space, value: object, message: str
) -> None:
    with pytest.raises(InvalidEvent, match=message):
        space.append(Counted(count=0), Said(what=value))

    assert_untouched(space)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_app_with_floats_still_refuses_those_that_sqlite_would_make_null(value: float) -> None:
    with app(floats=True).open(":memory:") as space:
        with pytest.raises(InvalidEvent, match=f"what is {value!r}; only finite floats have one meaning everywhere"):
            space.append(Said(what=value))

        assert_untouched(space)


EDGES: list[object] = [
    (1 << 63) - 1,
    -(1 << 63),
    "",
    b"",
    "\U0010ffff",
    "\x7f",
    [],
    {},
    {"": None},
    nested(15),
    "x" * 131_000,
    True,
]


def test_what_stands_at_the_edge_of_the_domain_comes_back_as_it_was(space: Space) -> None:
    space.append(*[Said(what=value) for value in EDGES])

    assert [entry.event for entry in space.log()] == [Said(what=value) for value in EDGES]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("text", 5, r"Expected `str`, got `int` - at `\$.text`; give the field a value of its declared type"),
        ("text", None, r"Expected `str`, got `None` - at `\$.text`; give the field"),
        ("id", b"1", r"Expected `str`, got `bytes` - at `\$.id`; give the field"),
    ],
)
def test_a_field_of_another_type_than_declared_is_refused_by_its_name(field: str, value: Any, message: str) -> None:
    fields: dict[str, Any] = {"id": "1", "text": "milk", field: value}
    with todo_app().open(":memory:") as space:
        with pytest.raises(InvalidEvent, match=f"TodoAdded: {message}"):
            space.append(TodoAdded(**fields))

        assert list(space.log()) == []


@pytest.mark.parametrize("thing", ["text", None, 7, {"id": "1"}, TodoAdded])
def test_what_is_no_event_cannot_be_appended(space: Space, thing: Any) -> None:
    with pytest.raises(InvalidEvent, match="is not an event; append instances of Event subclasses"):
        space.append(thing)

    assert_untouched(space)


def test_an_event_type_that_the_app_does_not_declare_is_refused_with_the_line_that_is_missing(space: Space) -> None:
    with pytest.raises(
        InvalidEvent, match=r"NeverDeclared version 1 has no materializer in app 'org.example.bad'; .*on"
    ):
        space.append(Counted(count=1), NeverDeclared(what="x"))

    assert_untouched(space)


def test_appending_nothing_records_nothing(space: Space) -> None:
    assert space.append() == ()
    assert_untouched(space)


def test_an_event_type_is_declared_once() -> None:
    app = App("org.example.twice", tables=TABLES)

    @app.on(TodoAdded)
    def first(tx: ViewTransaction, event: TodoAdded) -> None: ...

    with pytest.raises(InvalidApp, match=r"event 'TodoAdded' version 1 has the materializer .*first already; give one"):

        @app.on(TodoAdded)
        def second(tx: ViewTransaction, event: TodoAdded) -> None: ...


def test_two_classes_cannot_share_a_name_and_version() -> None:
    class Other(Event, name="TodoAdded"):
        id: str

    app = todo_app()
    with pytest.raises(InvalidApp, match="event 'TodoAdded' version 1 has the materializer"):
        app.on(Other)(lambda _tx, _event: None)


@pytest.mark.parametrize("thing", [str, Event, "TodoAdded", None])
def test_only_an_event_type_can_have_a_materializer(thing: Any) -> None:
    with pytest.raises(InvalidApp, match=r"is not an event type; declare one with `class TodoAdded\(Event\)"):
        todo_app().on(thing)


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 256, "é" * 128])
def test_an_app_needs_a_name_that_can_be_told_and_kept(name: str) -> None:
    with pytest.raises(InvalidApp, match="is not 1 to 255 bytes of text without control characters"):
        App(name, tables=TABLES)


def test_append_inside_a_transaction_says_what_to_call_instead_and_the_transaction_goes_on() -> None:
    with todo_app().open(":memory:") as space:
        with space.transaction() as tx:
            tx.append(TodoAdded(id="1", text="milk"))
            with pytest.raises(
                DriftlogError, match=r"inside `with space.transaction\(\) as tx`, append with tx.append"
            ):
                space.append(TodoAdded(id="2", text="bread"))
            with pytest.raises(DriftlogError, match=r"inside `with space.transaction\(\) as tx`"), space.transaction():
                pass
            tx.append(TodoCompleted(id="1"))

        assert space.query("SELECT id, done FROM todo") == [("1", 1)]


def use_closed(space: Space) -> Iterator[tuple[str, Any]]:
    """Everything that a space does, by name."""
    yield "append", lambda: space.append(Counted(count=1))
    yield "transaction", lambda: space.transaction().__enter__()
    yield "query", lambda: space.query("SELECT 1")
    yield "log", lambda: list(space.log())
    yield "digest", space.digest
    yield "status", space.status
    yield "invite", space.invite
    yield "version_vector", space.version_vector
    yield "envelopes_for", lambda: list(space.envelopes_for(space.version_vector()))
    yield "receive", lambda: space.receive([])
    yield "seal", space.seal
    yield "rebuild", space.rebuild
    yield "sync", lambda: space.sync("ws://localhost:1")


def test_a_closed_space_says_so_whatever_it_is_asked(space: Space) -> None:
    space.close()
    space.close()

    for name, use in use_closed(space):
        with pytest.raises(Closed, match=r"the space at :memory: was closed; open it again with app.open\(path\)"):
            pytest.fail(f"{name} gave {use()!r}")


def test_a_log_that_is_being_read_when_the_space_is_closed_says_so() -> None:
    with todo_app().open(":memory:") as space:
        space.append(TodoAdded(id="1", text="milk"))
        entries = space.log()

    with pytest.raises(Closed, match="was closed"):
        list(entries)


def test_an_append_that_waited_while_the_space_was_closed_says_so() -> None:
    space = todo_app().open(":memory:")
    errors: list[BaseException] = []

    def append() -> None:
        try:
            space.append(TodoAdded(id="1", text="milk"))
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is looked at below
            errors.append(error)

    thread = Thread(target=append)
    with space._engine.reading():
        thread.start()
        while not space._engine._appender._queue:
            pass
        space.close()
    thread.join()

    assert [type(error) for error in errors] == [Closed]


def test_a_timestamp_is_read_by_people() -> None:
    with todo_app().open(":memory:", clock=lambda: 1_800_000_000_000) as space:
        [stamp] = space.append(TodoAdded(id="1", text="milk"))

    assert isinstance(stamp, Timestamp)
    assert str(stamp) == f"1800000000000.0@{space.device[:4].hex()}"
