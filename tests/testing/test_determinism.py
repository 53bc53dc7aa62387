"""Each way in which a materializer can look at what differs between devices is found and named; an honest app passes."""

import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

import pytest

from driftlog import App, Event, Space, State, ViewTransaction
from driftlog.errors import DriftlogError, InvalidEvent, NotADriftlogFile, OtherApp, StorageError
from driftlog.testing import Nondeterministic, check_determinism, exchange, fleet
from driftlog.testing.circumstances import PLAIN, replays_here
from driftlog.testing.peeking import FIRST, OTHER, Moment, replaced
from driftlog.testing.replay import Effect, decode_effect, space_placed
from tests.testing import peeking_apps as apps
from tests.testing.peeking_apps import NoteJudged, NoteTaken
from tests.todo_app import Clock, TodoAdded, TodoCompleted, TodoRemoved, TodoRenamed, todo_app

WORDS = ["rain", "snow", "hail", "wind", "fog"]
LOG = [NoteTaken(id=1, words=["sun"]), NoteTaken(id=2, words=WORDS), NoteJudged(id=1), NoteJudged(id=2)]
"""The last is the first with which an app of `peeking_apps` does something wrong."""


class NotesBurnt(Event):
    """No note is left."""


def raised_by(app: App, *events: Event) -> Nondeterministic:
    with pytest.raises(Nondeterministic) as raised:
        check_determinism(app, events=events or LOG)
    return raised.value


def raised_here(judge: apps.Judge) -> Nondeterministic:
    """Check an app that no other process can import, because it is made here."""
    with pytest.warns(UserWarning, match="were not checked"):
        return raised_by(apps.notes(judge))


@pytest.mark.slow
def test_an_app_that_looks_at_nothing_but_its_event_passes() -> None:
    check_determinism(apps.clean, events=LOG)


@pytest.mark.slow
def test_an_app_may_be_given_by_the_name_the_command_line_knows_it_by() -> None:
    check_determinism("tests.testing.peeking_apps:clean", events=LOG)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("app", "circumstance"),
    [
        (apps.set_order, "PYTHONHASHSEED=1"),
        (apps.hashed, "PYTHONHASHSEED=1"),
        (apps.local_time, "time zone"),
        (apps.environment, "LC_ALL="),
        (apps.directory, "working directory"),
        (apps.unordered, "reverse_unordered_selects"),
        (apps.clock, "at another time"),
        (apps.counter, "again in the same process"),
        (apps.cache, "again in the same process"),
    ],
    ids=["set", "hash", "zone", "locale", "directory", "unordered", "clock", "counter", "cache"],
)
def test_a_materializer_that_looks_elsewhere_is_named_with_what_it_looks_at(app: App, circumstance: str) -> None:
    error = raised_by(app)

    assert circumstance in error.circumstance
    assert (error.index, error.event_name) == (3, "note.judged")
    assert str(error).startswith(f"event 4 of 4, note.judged at {error.timestamp}, does not come to the same ")
    assert "Usual causes: " in str(error)
    if app is not apps.directory:
        assert (error.table, error.key) == ("note", (2,))
        assert error.expected is not None
        assert error.found is not None
        assert error.expected[0] == error.found[0] == 2
        assert f"in table note, row (2,) is {error.found!r}, not {error.expected!r}. " in str(error)


@pytest.mark.slow
def test_what_was_left_behind_in_this_process_is_told_from_what_a_new_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "changed_by_a_test", True)

    error = raised_by(apps.patched)

    assert "in this process rather than a new one" in error.circumstance
    assert (error.expected, error.found) == ((2, "False"), (2, "True"))


@pytest.mark.parametrize("judge", apps.LOOKING_AT_CLOCK_OR_CHANCE.values(), ids=apps.LOOKING_AT_CLOCK_OR_CHANCE)
def test_clock_and_chance_give_themselves_away_by_whatever_name(judge: apps.Judge) -> None:
    error = raised_here(judge)

    assert error.circumstance == "at another time and with other randomness"
    assert error.index == 3


def test_what_cannot_be_replaced_differs_when_it_is_replayed_again() -> None:
    for judge in (lambda _, __: str(time.perf_counter_ns()), lambda _, __: str(uuid.uuid1())):
        assert raised_here(judge).circumstance == "when it is replayed again in the same process"


def test_a_verdict_that_differs_is_named_with_both_reasons() -> None:
    error = raised_here(apps.LOOKING_AT_CLOCK_OR_CHANCE["a verdict"])

    assert (error.table, error.key) == (None, None)
    assert (error.expected, error.found) == (("applied", None), ("rejected", "too late"))
    assert "it is rejected ('too late'), not applied" in str(error)


def test_of_an_app_made_in_a_function_the_rest_is_left_out_and_that_is_said() -> None:
    app = apps.notes(apps._with_a_set)  # a new process would have found it

    with pytest.warns(UserWarning, match="hash seeds, time zone, locale and working directory were not checked"):
        check_determinism(app, events=LOG)


@pytest.mark.filterwarnings("ignore:app .* is at no module's top level")
def test_a_difference_that_later_events_wipe_out_is_a_difference() -> None:
    app = apps.notes(apps.LOOKING_AT_CLOCK_OR_CHANCE["time"])

    @app.on(NotesBurnt)
    def notes_burnt(tx: ViewTransaction, event: NotesBurnt) -> None:
        tx.execute("DELETE FROM note")

    assert raised_by(app, *LOG, NotesBurnt()).index == 3


@pytest.mark.filterwarnings("ignore:app .* is at no module's top level")
def test_rows_that_are_left_or_deleted_are_said_to_be() -> None:
    def judge(tx: ViewTransaction, note: int) -> str:
        if time.time() > OTHER.start_s:
            tx.execute("DELETE FROM tag WHERE word = 'wind'")
        return "judged"

    error = raised_by(apps.notes(judge))

    assert (error.table, error.key, error.expected, error.found) == ("tag", ("wind",), None, None)
    assert "in table tag, row ('wind',) is deleted, not left as it was. " in str(error)


def test_a_row_that_is_written_as_it_was_is_no_difference() -> None:
    def judge(tx: ViewTransaction, note: int) -> str:
        if time.time() > OTHER.start_s:
            tx.execute("UPDATE tag SET note = note")
        return "judged"

    with pytest.warns(UserWarning, match="were not checked"):
        check_determinism(apps.notes(judge), events=LOG)


def test_a_long_row_is_cut_in_the_message_and_whole_in_the_error() -> None:
    error = raised_here(lambda _, __: f"{time.time()}" + "x" * 10_000)

    assert error.found is not None
    assert len(str(error.found[1])) > 10_000
    assert len(str(error)) < 2_000


# --- what is given ---------------------------------------------------------------------------------------------------


@contextmanager
def todos(path: Path) -> Iterator[Space]:
    """Give a space in which an event was rejected, because an earlier one came late, and a row is gone."""
    clocks = [Clock(), Clock()]
    ours, theirs = fleet(todo_app(), 2, paths=[path, ":memory:"], clocks=clocks)
    with ours, theirs:
        ours.append(TodoAdded(id="1", text="milk"), TodoRenamed(id="1", text="oat milk"))
        exchange(ours, theirs)
        theirs.append(TodoRemoved(id="1"))
        clocks[0].now_ms += 1
        ours.append(TodoCompleted(id="1"), TodoAdded(id="2", text="tea"))
        exchange(ours, theirs)
        yield ours


def test_a_replay_comes_to_the_verdicts_and_the_rows_of_the_space_it_is_of(tmp_path: Path) -> None:
    with todos(tmp_path / "todos.db") as space:
        placed = space_placed(todo_app(), space)
        [effects] = replays_here(todo_app(), placed, [PLAIN])
        decoded = [decode_effect(effect) for effect in effects]

        assert [(effect.state, effect.reason) for effect in decoded] == [
            (entry.state.value, entry.reason) for entry in space.log()
        ]
        assert State.REJECTED.value in {effect.state for effect in decoded}
        assert folded(decoded) == {row.id: row for row in space.query("SELECT * FROM todo")}
        assert [change.row for change in decoded[1].changes] == [("1", "oat milk", 0)]
        assert [change.row for change in decoded[2].changes] == [None]


def folded(effects: list[Effect]) -> dict[object, object]:
    rows: dict[object, object] = {}
    for change in (change for effect in effects for change in effect.changes):
        rows[change.key[0]] = change.row
    return {key: row for key, row in rows.items() if row is not None}


@pytest.mark.filterwarnings("ignore:app .* is at no module's top level")
def test_an_open_space_and_a_file_are_logs_and_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "todos.db"
    with todos(path) as space:
        before = (space.digest(), space.status(), list(space.log()))

        check_determinism(todo_app(), spaces=[space, path, str(path)])

        assert (space.digest(), space.status(), list(space.log())) == before


@pytest.mark.filterwarnings("ignore:app .* is at no module's top level")
def test_the_fault_in_a_space_is_named_by_the_stamp_in_its_log(tmp_path: Path) -> None:
    app = apps.notes(lambda _, __: str(random.random()))
    with app.open(tmp_path / "notes.db") as space:
        at = space.append(*LOG)[-1]
        with pytest.raises(Nondeterministic) as raised:
            check_determinism(app, spaces=[space])

    assert raised.value.timestamp == at


def test_nothing_to_check_is_an_error_and_not_a_pass(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no events were given"):
        check_determinism(todo_app())
    with todo_app().open(tmp_path / "empty.db") as space, pytest.raises(ValueError, match="holds no events"):
        check_determinism(todo_app(), spaces=[space])


def test_what_is_no_space_of_the_app_is_refused_and_not_made(tmp_path: Path) -> None:
    missing, strange, other = tmp_path / "missing.db", tmp_path / "strange.db", tmp_path / "other.db"
    strange.write_text("something else, longer than the head of a database is, " * 9)
    app = todo_app()
    with todo_app("org.example.other").open(other) as space:
        for given, error in (
            (missing, StorageError),
            (strange, NotADriftlogFile),
            (other, OtherApp),
            (space, OtherApp),
        ):
            with pytest.raises(error):
                check_determinism(app, spaces=[given])
    with pytest.raises(InvalidEvent, match=r"note\.taken version 1 has no materializer"):
        check_determinism(app, events=LOG)

    assert not missing.exists()


def test_each_of_several_logs_is_checked(tmp_path: Path) -> None:
    app = apps.notes(apps.LOOKING_AT_CLOCK_OR_CHANCE["time"])
    with app.open(tmp_path / "good.db") as good, app.open(tmp_path / "bad.db") as bad:
        good.append(*LOG[:3])
        at = bad.append(*LOG)[-1]
        with pytest.warns(UserWarning, match="were not checked"), pytest.raises(Nondeterministic) as raised:
            check_determinism(app, events=LOG[:2], spaces=[good, bad])

    assert raised.value.timestamp == at


# --- other processes -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_materializer_that_does_not_end_is_ended_with_its_process() -> None:
    with pytest.raises(DriftlogError, match=r"the replay of 4 events in a new process was ended after 3 s"):
        check_determinism(apps.stuck, events=LOG, timeout_seconds=3)


@pytest.mark.slow
def test_a_process_that_fails_is_an_error_with_what_it_said() -> None:
    with pytest.raises(DriftlogError, match=r"failed with exit code 7; mend what it says:\nthe processor is on fire"):
        check_determinism(apps.killed, events=LOG)


@pytest.mark.slow
def test_an_app_that_another_process_declares_otherwise_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    another = apps.notes(apps._clean)

    class NoteDropped(Event):
        id: int

    @another.on(NoteDropped)
    def note_dropped(tx: ViewTransaction, event: NoteDropped) -> None: ...

    monkeypatch.setattr(apps, "clean", another)

    with pytest.raises(DriftlogError, match="declares something else in a new process"):
        check_determinism(another, events=LOG)


ROOT = Path(__file__).parent.parent.parent

SCRIPT = """
from tests.testing.peeking_apps import NoteTaken, notes
from driftlog.testing import check_determinism

app = notes(str)
{}check_determinism(app, events=[NoteTaken(id=1, words=["sun"])])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("guard", "code"), [("if __name__ == '__main__': ", 0), ("", 1)])
def test_a_script_may_check_itself_when_it_is_run_and_not_when_it_is_imported(
    tmp_path: Path, guard: str, code: int
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(guard))

    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, timeout=100, env=environment
    )

    assert ended.returncode == code, ended.stderr
    assert ("under `if __name__ == '__main__':`" in ended.stderr) == (code == 1)


@pytest.mark.slow
def test_an_app_named_by_a_relative_path_is_found_from_other_directories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "declared_here.py").write_text("from tests.testing.peeking_apps import clean as app\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])

    check_determinism("declared_here.py:app", events=LOG)

    del sys.modules["declared_here"]


# --- clock and chance, replaced --------------------------------------------------------------------------------------


def test_at_one_moment_all_is_alike_and_at_another_nothing_is() -> None:
    def looked_at(moment: Moment) -> list[object]:
        with replaced(moment, [plain_handler]):
            now = datetime.now()
            return [now.year, now.month, now.day, now.hour, now.minute, now.weekday(), time.time(), random.random()]

    first, again, other = looked_at(FIRST), looked_at(FIRST), looked_at(OTHER)

    assert first == again
    assert all(here != there for here, there in zip(first, other, strict=True))


def plain_handler(tx: ViewTransaction, event: Event) -> None: ...


def test_what_was_replaced_is_put_back_whatever_happens() -> None:
    before = (time.time, time.time_ns, datetime, date, random.getstate())

    def failing() -> None:
        with replaced(OTHER, [plain_handler]):
            assert time.time is not before[0]
            random.random()
            raise KeyError

    with pytest.raises(KeyError):
        failing()

    assert (time.time, time.time_ns, datetime, date, random.getstate()) == before


def test_dates_of_a_replaced_clock_are_ordinary_dates() -> None:
    real = datetime
    with replaced(OTHER, [plain_handler]):
        assert datetime is not real, "this module's own name is replaced too"
        for made in (datetime.now(), datetime(2020, 1, 2), datetime.fromisoformat("2020-01-02"), datetime.today()):
            assert type(made) is real
            assert isinstance(made, datetime)
            assert isinstance(made, date)
        assert not isinstance(date.today(), datetime)


def test_other_threads_keep_their_clock() -> None:
    seen: list[float] = []
    real = time.time()
    with replaced(FIRST, [plain_handler]):
        thread = threading.Thread(target=lambda: seen.append(time.time()))
        thread.start()
        thread.join()
        assert time.time() < real - 86_400

    assert abs(seen[0] - real) < 60
