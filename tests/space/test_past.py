"""Time travel: `space.at` gives the fold of the log up to any place, and nothing that happens later reaches it."""

import os
import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from driftlog import App, Past, Space, Timestamp
from driftlog._core.clock import Hlc
from driftlog._core.ids import DeviceKey, EventHash
from driftlog._sqlite.connection import connect
from driftlog.errors import AppChanged, Closed, DriftlogError, ForbiddenSQL
from driftlog.space.reader import Reader
from driftlog.space.reopening import Reopening
from driftlog.space.turns import Turns
from driftlog.space.whereabouts import Whereabouts
from driftlog.testing import exchange, fleet
from driftlog.testing.simulation.campaign import quiet
from tests.cases import Case
from tests.past import compare_past
from tests.space.test_upgrades import Counted, times
from tests.todo_app import Clock, TodoAdded, TodoCompleted, TodoRemoved, todo_app

APP = todo_app()
BEFORE_ALL = Timestamp(Hlc(0), DeviceKey(b""), EventHash(b""))
AFTER_ALL = Timestamp(Hlc(2**63 - 1), DeviceKey(b"\xff" * 32), EventHash(b"\xff" * 32))


# --- judged by the oracle --------------------------------------------------------------------------------------------


class TimeTravellers(Case):
    """A case in which devices look back now and then, and at every place of their logs in the end."""

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed, folder)
        self._glances = random.Random(seed)
        self.met: Counter[str] = Counter()

    def _act(self) -> None:
        super()._act()
        if self._glances.random() < 0.1:
            machine = self._glances.choice(self._machines)
            known = sorted(machine.witness.facts)
            # All look at the places that one of them knows: a timestamp need not be of an event that is there.
            places = self._glances.sample(known, min(2, len(known)))
            for one in self._machines:
                compare_past(one, self._variant, places)
            self.met["glances"] += len(places)

    def look_back_all_the_way(self) -> None:
        """Compare one device's past at every place there is, and beside them."""
        machine = self._glances.choice([*self._machines, self._observer])
        places = sorted(machine.witness.facts)
        between = [(hlc, device, hashed[:-1]) for hlc, device, hashed in places[:5]]
        compare_past(machine, self._variant, [(0, b"", b""), *between, *places, (2**63 - 1, b"\xff" * 32, b"")])
        self.met["places"] += len(places)
        self.met.update(entry.state for entry in machine.space.log())


@pytest.mark.slow
@pytest.mark.parametrize("block", range(3))
def test_the_view_at_every_place_is_the_fold_of_the_log_up_to_there(block: int, tmp_path: Path) -> None:
    met: Counter[str] = Counter()
    for seed in range(block * 25, block * 25 + 25):
        case = TimeTravellers(seed, tmp_path)
        try:
            with quiet():
                case.run(None)
                case.look_back_all_the_way()
        except AssertionError as error:
            raise AssertionError(f"case {seed}: {error}") from error
        finally:
            case.close()
        met += case.met + case.counts()
    # Cases that met nothing worth looking back at would go on passing.
    expected = ("glances", "places", "applied", "rejected", "held", "unknown", "late", "cascades", "forks")
    assert not [kind for kind in expected if not met[kind]], met


# --- what it is ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["in memory", "in a file"])
def space(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Space]:
    where = tmp_path / "todos.db" if request.param == "in a file" else ":memory:"
    with APP.open(where, clock=Clock()) as opened:
        yield opened


def rows(at: Past | Space) -> list[tuple[object, ...]]:
    return [tuple(row) for row in at.query("SELECT id, done FROM todo ORDER BY id")]


def test_the_past_shows_the_event_and_all_before_it_and_nothing_after(space: Space) -> None:
    added, _, done, _ = space.append(
        TodoAdded(id="a", text="x"), TodoAdded(id="b", text="y"), TodoCompleted(id="a"), TodoRemoved(id="a")
    )

    with space.at(added) as past:
        assert rows(past) == [("a", 0)]
        assert past.timestamp == added
    with space.at(done) as past:
        assert rows(past) == [("a", 1), ("b", 0)]


def test_before_everything_the_tables_are_empty_and_after_everything_they_are_as_now(space: Space) -> None:
    space.append(TodoAdded(id="a", text="x"))

    with space.at(BEFORE_ALL) as first, space.at(AFTER_ALL) as last:
        assert rows(first) == []
        assert rows(last) == [("a", 0)]
        assert last.digest() == space.digest() != first.digest()


def test_a_timestamp_of_no_event_stands_for_all_that_come_before_it(space: Space) -> None:
    first, second = space.append(TodoAdded(id="a", text="x"), TodoAdded(id="b", text="y"))

    with space.at(Timestamp(second.hlc, DeviceKey(b""), EventHash(b""))) as past:
        assert rows(past) == [("a", 0)]
    # Just beside an event, on either side.
    with space.at(first._replace(event_hash=EventHash(first.event_hash[:-1]))) as past:
        assert rows(past) == []
    with space.at(first._replace(event_hash=EventHash(first.event_hash + b"\0"))) as past:
        assert rows(past) == [("a", 0)]


def test_the_past_stays_as_it_is_whatever_the_space_does(space: Space) -> None:
    [added] = space.append(TodoAdded(id="a", text="x"))

    with space.at(added) as past:
        digest = past.digest()
        space.append(TodoRemoved(id="a"))
        space.rebuild()
        space.close()

        assert rows(past) == [("a", 0)]
        assert past.digest() == digest


def test_a_late_arrival_is_in_the_past_that_is_asked_for_afterwards() -> None:
    clock = Clock()
    here, there = fleet(APP, 2, clocks=[clock, Clock(clock.now_ms - 5000)])
    there.append(TodoAdded(id="early", text="x"))
    [added] = here.append(TodoAdded(id="late", text="y"))
    with here.at(added) as before:
        exchange(here, there)

        assert rows(before) == [("late", 0)]
        for device in (here, there):
            with device.at(added) as after:
                assert rows(after) == [("early", 0), ("late", 0)]
    here.close()
    there.close()


def test_nothing_can_be_written_to_the_past(space: Space) -> None:
    [added] = space.append(TodoAdded(id="a", text="x"))

    with space.at(added) as past:
        with pytest.raises(ForbiddenSQL, match="is not one query"):
            past.query("DELETE FROM todo")
        assert rows(past) == [("a", 0)]


def test_a_past_that_was_closed_says_so_and_may_be_closed_twice(space: Space) -> None:
    past = space.at(BEFORE_ALL)
    past.close()
    past.close()

    for ask in (past.digest, lambda: past.query("SELECT 1")):
        with pytest.raises(Closed, match=r"the view at 0\.0@ was closed; make another with space\.at"):
            ask()


def test_a_closed_space_has_no_past(space: Space) -> None:
    space.close()

    with pytest.raises(Closed, match="was closed"):
        space.at(BEFORE_ALL)


WRONG = {
    "a number": 7,
    "nothing": None,
    "a plain tuple": (1, b"", b""),
    "a stamp too great": BEFORE_ALL._replace(hlc=Hlc(2**63)),
    "a stamp too small": BEFORE_ALL._replace(hlc=Hlc(-1)),
    "text for a device": BEFORE_ALL._replace(device="a"),  # type: ignore[arg-type] # a caller without types
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_is_no_timestamp_is_refused_in_words(space: Space, wrong: Timestamp) -> None:
    with pytest.raises(
        DriftlogError, match="is no timestamp with a stamp from 0 to 9223372036854775807; give one that"
    ):
        space.at(wrong)


# --- where it is read from -------------------------------------------------------------------------------------------


def test_a_writer_in_the_midst_of_a_transaction_is_neither_waited_for_nor_seen(tmp_path: Path) -> None:
    with APP.open(tmp_path / "todos.db") as space:
        space.append(TodoAdded(id="a", text="x"))
        with space.transaction() as tx:
            tx.append(TodoAdded(id="b", text="y"))
            with space.at(AFTER_ALL) as past:
                assert rows(past) == [("a", 0)]


def test_a_space_in_memory_shows_within_a_transaction_what_the_transaction_has_appended() -> None:
    with APP.open(":memory:") as space, space.transaction() as tx:
        tx.append(TodoAdded(id="a", text="x"))
        with space.at(AFTER_ALL) as past:
            assert rows(past) == [("a", 0)]


def test_tables_and_log_are_of_one_moment_while_another_thread_appends(space: Space) -> None:
    [first] = space.append(TodoAdded(id="a", text="x"))

    def write() -> None:
        for number in range(100):
            space.append(TodoAdded(id=str(number), text="y"))

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        looks = 0
        while not writing.done() or looks < 3:
            with space.at(first) as past:
                assert rows(past) == [("a", 0)]
            looks += 1
        writing.result()


def test_the_file_is_found_after_the_working_directory_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with APP.open("todos.db") as space:
        space.append(TodoAdded(id="a", text="x"))
        monkeypatch.chdir(tmp_path / "elsewhere")
        with space.at(AFTER_ALL) as past:
            assert rows(past) == [("a", 0)]


@pytest.mark.parametrize("is_shared", [True, False], ids=["the only connection", "a second one"])
def test_a_reader_sees_one_state_of_the_file_while_another_process_writes(tmp_path: Path, is_shared: bool) -> None:
    path = tmp_path / "todos.db"
    with APP.open(path) as space:
        space.append(TodoAdded(id="a", text="x"))
        there = Whereabouts(str(path), str(path), lambda: None)
        reader = Reader(
            connect(path, is_read_only=True), Turns(), str(path), Reopening(lambda: None), there, is_shared=is_shared
        )
        for borrow in (reader.consistent, reader.apart):
            with borrow() as connection:
                before = connection.execute("SELECT count(*) FROM todo").get
                space.append(TodoAdded(id=os.urandom(4).hex(), text="y"))
                assert connection.execute("SELECT count(*) FROM driftlog_log").get == before
        with reader.connection() as connection:
            assert connection.execute("SELECT count(*) FROM todo").get == 3
        reader.close()


def test_tables_that_another_version_of_the_app_made_have_no_past_here(tmp_path: Path) -> None:
    path = tmp_path / "counts.db"
    with times(1).open(path) as old:
        old.append(Counted(id="a", n=1))
        with times(100).open(path) as new, new.at(AFTER_ALL) as past:
            assert past.query("SELECT n FROM count") == [(100,)]

        with pytest.raises(AppChanged, match="another version of the app, whose past only that version can read"):
            old.at(AFTER_ALL)


# --- what is in the way ----------------------------------------------------------------------------------------------

FAMILY = """
CREATE TABLE born (child TEXT PRIMARY KEY REFERENCES person ON DELETE CASCADE, mark INTEGER UNIQUE) STRICT;
CREATE TABLE person (
  id TEXT PRIMARY KEY, seat INTEGER UNIQUE, size INTEGER GENERATED ALWAYS AS (length(id)) STORED
) STRICT;
CREATE TABLE tally (id INTEGER PRIMARY KEY, n INTEGER NOT NULL) STRICT;
CREATE TRIGGER counted AFTER INSERT ON person BEGIN INSERT INTO tally (n) VALUES (NEW.seat); END;
"""


def family_app() -> App:
    app = App("org.example.family", tables=FAMILY)

    @app.on(Counted)
    def counted(tx, event):  # type: ignore[no-untyped-def]
        if event.n < 0:
            tx.execute("DELETE FROM person WHERE id = ?", (event.id,))
            return
        for statement in (
            "UPDATE person SET seat = seat + 100 WHERE seat = ?",
            "UPDATE born SET mark = 0 WHERE mark = ?",
        ):
            tx.execute(statement, (event.n,))
        tx.execute("INSERT INTO person (id, seat) VALUES (?, ?)", (event.id, event.n))
        tx.execute("INSERT INTO born VALUES (?, ?)", (event.id, event.n))

    return app


def test_triggers_foreign_keys_unique_and_generated_columns_do_not_disturb_the_copy() -> None:
    with family_app().open(":memory:", clock=Clock()) as space:
        digests = {BEFORE_ALL: space.digest()}
        for event in (Counted(id="a", n=1), Counted(id="bb", n=1), Counted(id="a", n=-1), Counted(id="a", n=101)):
            [at] = space.append(event)
            digests[at] = space.digest()

        assert len(set(digests.values())) == 5
        for at, digest in digests.items():
            with space.at(at) as past:
                assert past.digest() == digest
