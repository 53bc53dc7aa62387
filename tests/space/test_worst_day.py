"""What must not happen on the worst day: half-done transactions, poison that spreads, ghosts of interrupted appends."""

import sys
import threading
from pathlib import Path

import pytest

from driftlog import App, Event, Space, State, ViewTransaction, reject
from driftlog._core.batch import Batch
from driftlog._core.clock import Hlc
from driftlog._core.envelope import Envelope
from driftlog._core.event import Record
from driftlog._core.ids import NO_ENVELOPE, BatchSeq, EnvelopeHash
from driftlog._crypto.keys import SpaceKeys
from driftlog._crypto.seal import seal
from driftlog.errors import DiskFull, InvalidApp
from driftlog.testing import exchange, fleet
from tests.todo_app import Clock, TodoAdded, todo_app

COUNTS = "CREATE TABLE count (id TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT"


class Counted(Event):
    id: str
    n: int = 0
    text: str = ""


class Checked(Event):
    """A type that checks itself, with code that raises what no library would."""

    cents: int

    def __post_init__(self) -> None:
        assert self.cents > 0, "an assertion of the app's own"


def ids(space: Space) -> set[str]:
    return {row.id for row in space.query("SELECT id FROM count")}


def counting(*, is_swallowing: bool = False) -> App:
    app = App("org.example.counts", tables=f"{COUNTS}; CREATE TABLE text (id TEXT PRIMARY KEY, text TEXT) STRICT")

    @app.on(Counted)
    def counted(tx: ViewTransaction, event: Counted) -> None:
        if event.n == 404:
            reject(404)  # type: ignore[arg-type]  # an app without types may do this
        if event.n == 1 << 40:
            tx.execute("INSERT INTO text VALUES ('', ?)", (" " * (1 << 60),))
        if event.n < 0:
            _dig(-event.n)
        tx.execute("INSERT INTO count (id, n) VALUES (?, ?)", (event.id, event.n))
        try:
            tx.execute("INSERT INTO text VALUES (?, ?)", (event.id, event.text))
        except Exception:
            if not is_swallowing:
                raise

    @app.on(Checked)
    def checked(_: ViewTransaction, __: Checked) -> None:
        """Nothing to do."""

    return app


def _dig(depth: int) -> int:
    return 0 if depth == 0 else 1 + _dig(depth - 1)


def stranger(space: Space) -> SpaceKeys:
    """A member who writes envelopes by hand."""
    engine = space._engine
    with engine.reading() as store:
        return SpaceKeys.of(b"s" * 32, engine.exchange.genesis(store), engine.keys.epoch_key)


def by_hand(keys: SpaceKeys, *records: Record, seq: int = 1, previous: EnvelopeHash = NO_ENVELOPE) -> bytes:
    return seal(Batch(records), keys, BatchSeq(seq), previous, lambda n: bytes(n)).raw


def counted(n: int, payload: bytes, name: str = "Counted") -> Record:
    return Record(Hlc(n << 16), n, name, 1, payload)


def fill_disk(space: Space) -> None:
    space._engine._connection.pragma("max_page_count", 1)


def free_disk(space: Space) -> None:
    space._engine._connection.pragma("max_page_count", 1 << 30)


BIG = "x" * 100_000


def test_a_disk_failure_that_the_app_catches_ends_the_transaction_all_the_same(tmp_path: Path) -> None:
    with counting().open(tmp_path / "a.db") as space:
        fill_disk(space)

        def go_on_after_the_failure() -> None:
            with space.transaction() as tx:
                tx.append(Counted(id="first"))
                with pytest.raises(DiskFull):
                    tx.append(Counted(id="big", text=BIG))
                # SQLite has undone everything by now; without care this would commit by itself.
                tx.append(Counted(id="after"))

        with pytest.raises(DiskFull):
            go_on_after_the_failure()

        assert ids(space) == set()
        assert list(space.log()) == []
        free_disk(space)
        space.append(Counted(id="later"))
        assert ids(space) == {"later"}


def test_a_disk_failure_that_a_materializer_swallows_is_no_verdict(tmp_path: Path) -> None:
    with counting(is_swallowing=True).open(tmp_path / "a.db") as space:
        space.append(Counted(id="0"))
        fill_disk(space)
        with pytest.raises(DiskFull):
            space.append(Counted(id="big", text=BIG))

        free_disk(space)
        assert [entry.state for entry in space.log()] == [State.APPLIED]
        before = space.digest()
        space.rebuild()
        assert space.digest() == before


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (b"\x81\xa5cents\x00", "Checked"),  # __post_init__ raises AssertionError
        (b"\x82\xa2id\xa1p\xa1n\xcd\x01\x94", "Counted"),  # reject(404)
        (b"\x82\xa2id\xa1p\xa1n\xcf\x00\x00\x01\x00\x00\x00\x00\x00", "Counted"),  # asks for 2**60 bytes
    ],
    ids=["a type that raises", "a reason that is a number", "a boundless appetite"],
)
def test_a_poison_event_is_rejected_and_nothing_else_suffers(payload: bytes, name: str) -> None:
    a, b = fleet(counting(), 2, clocks=[Clock(), Clock()])
    poison = by_hand(stranger(a), counted(5, payload, name))
    b.append(Counted(id="good"))

    receipt = a.receive([poison, *b.envelopes_for(a.version_vector())])
    exchange(a, b)

    assert receipt.refused == ()
    assert ids(a) == ids(b) == {"good"}
    assert [entry.state for entry in a.log()] == [State.REJECTED, State.APPLIED]
    assert a.digest() == b.digest()


def test_how_deep_the_caller_stands_does_not_decide_what_becomes_of_an_event() -> None:
    a, b = fleet(counting(), 2, clocks=[Clock(), Clock()])
    depth = sys.getrecursionlimit() - 300
    deep = by_hand(stranger(a), counted(5, b"\x82\xa2id\xa1d\xa1n\xd1" + (-depth).to_bytes(2, "big", signed=True)))

    a.receive([deep])
    _deeper(200, lambda: b.receive([deep]))

    assert [entry.state for entry in a.log()] == [entry.state for entry in b.log()]
    assert a.digest() == b.digest()


def _deeper(frames: int, call: object) -> None:
    if frames:
        _deeper(frames - 1, call)
    else:
        assert callable(call)
        call()


def test_a_float_does_not_enter_an_app_that_does_not_take_them() -> None:
    with todo_app().open(":memory:", clock=Clock()) as space:
        payload = b"\x83\xa2id\xa11\xa4text\xa1x\xa1f\xcb?\xb9\x99\x99\x99\x99\x99\x9a"
        space.receive([by_hand(stranger(space), counted(5, payload, "TodoAdded"))])

        [entry] = space.log()
        assert (entry.state, entry.reason) == (State.REJECTED, "it holds a float, which the app is not declared with")


def test_envelopes_that_wait_are_not_opened_again_for_every_stranger_at_their_door() -> None:
    """Their number alone lets nobody in: only what names the very envelope that came is looked at."""
    with todo_app().open(":memory:", clock=Clock()) as space:
        keys = stranger(space)
        record = counted(5, b"\x82\xa2id\xa11\xa4text\xa1x", "TodoAdded")
        waiting = [by_hand(keys, record, seq=2, previous=EnvelopeHash(bytes([n]) * 32)) for n in range(1, 40)]
        assert space.receive(waiting).waiting == 39
        opened: list[bytes] = []
        intake, reopen = space._engine._store._intake, space._engine._store._intake._open

        def note(raw: bytes) -> tuple[Envelope, Batch]:
            opened.append(raw)
            return reopen(raw)

        intake._open = note

        space.receive([by_hand(keys, counted(n, record.payload, "TodoAdded")) for n in range(1, 40)])

        assert opened == []


def test_an_append_that_was_interrupted_while_it_waited_leaves_no_ghost() -> None:
    with todo_app().open(":memory:") as space:
        appender = space._engine._appender

        class Interrupted:
            def take_if_free(self) -> bool:
                return False

            def __enter__(self) -> None:
                raise KeyboardInterrupt

            def __exit__(self, *_: object) -> None: ...

        lock, appender._lock = appender._lock, Interrupted()  # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            space.append(TodoAdded(id="ghost", text=""))
        appender._lock = lock
        space.append(TodoAdded(id="later", text=""))

        assert [row.id for row in space.query("SELECT id FROM todo")] == ["later"]


def test_an_interrupt_in_the_middle_of_a_group_fails_the_others_or_spares_them_but_never_hangs() -> None:
    with todo_app().open(":memory:") as space:
        appender = space._engine._appender
        transaction = appender.store.transaction
        errors: list[BaseException] = []

        def interrupted() -> object:
            appender.store.transaction = transaction  # type: ignore[method-assign]
            raise KeyboardInterrupt

        def append(id_: str) -> None:
            try:
                space.append(TodoAdded(id=id_, text=""))
            except BaseException as error:  # noqa: BLE001 - it is what the test is about
                errors.append(error)

        with appender._lock:
            threads = [threading.Thread(target=append, args=(str(n),)) for n in range(4)]
            for thread in threads:
                thread.start()
            while len(appender._queue) < 4:
                threading.Event().wait(0.001)
            appender.store.transaction = interrupted  # type: ignore[method-assign, assignment]
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()

        assert sum(isinstance(error, KeyboardInterrupt) for error in errors) == 1
        appended = space.query("SELECT id FROM todo")
        assert len(appended) + len(errors) == 4


def test_a_materializer_that_would_not_run_is_refused() -> None:
    app = App("org.example.counts", tables=COUNTS)
    with pytest.raises(InvalidApp, match="coroutine or generator"):

        @app.on(Counted)  # type: ignore[arg-type]  # an app without types may do this
        async def later(tx: ViewTransaction, event: Counted) -> None: ...
