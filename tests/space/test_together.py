"""Many writers of one file: threads that share a commit, two spaces in one process, and two processes.

Whoever writes, no stamp and no envelope number is ever given twice, and nothing that was acknowledged is missing.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import apsw
import pytest

from driftlog import EventRejected, Space, Timestamp, VersionVector
from driftlog.space.app import system_clock
from tests.todo_app import Clock, TodoAdded, TodoCompleted, todo_app

APP = todo_app()
THREADS = 8
EACH = 60


def together(*works: Callable[[], list[Timestamp]]) -> list[Timestamp]:
    """Run all at once, each in a thread, and give the timestamps that they were given."""
    gate = Barrier(len(works))

    def run(work: Callable[[], list[Timestamp]]) -> list[Timestamp]:
        gate.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [stamp for stamps in pool.map(run, works) for stamp in stamps]


def append_to(space: Space, name: str) -> Callable[[], list[Timestamp]]:
    return lambda: [space.append(TodoAdded(id=f"{name}-{number}", text="x"))[0] for number in range(EACH)]


def assert_one_history(space: Space, given: list[Timestamp]) -> None:
    """The log is exactly what was given, each stamp once, in one chain of envelopes; and the view is what it makes."""
    assert len({stamp.hlc for stamp in given}) == len(given)
    assert [entry.timestamp for entry in space.log()] == sorted(given)
    before = space.digest()
    space.rebuild()
    assert space.digest() == before
    space.seal()
    assert [len(heads) for heads in space.version_vector().values()] == [1]
    assert [device.is_forked for device in space.status().devices] == [False]
    # Its clock is past all of them: what is held would not be in its view.
    with APP.join(":memory:", space.invite(), clock=lambda: given[-1].hlc >> 16) as other:
        other.receive(space.envelopes_for(VersionVector()))
        assert other.digest() == before


@pytest.mark.parametrize("clock", [Clock(), system_clock], ids=["a clock that stands still", "the system's clock"])
def test_appends_of_many_threads_are_all_there_each_with_a_stamp_of_its_own(
    tmp_path: Path, clock: Callable[[], int]
) -> None:
    with APP.open(tmp_path / "a.db", clock=clock) as space:
        given = together(*[append_to(space, f"thread {n}") for n in range(THREADS)])

        assert len(given) == THREADS * EACH
        assert_one_history(space, given)


def test_each_threads_own_events_are_in_the_order_in_which_it_appended_them(tmp_path: Path) -> None:
    with APP.open(tmp_path / "a.db") as space:
        together(*[append_to(space, f"{n}") for n in range(THREADS)])

        ids = [entry.event.id for entry in space.log() if isinstance(entry.event, TodoAdded)]
        for n in range(THREADS):
            assert [id_ for id_ in ids if id_.startswith(f"{n}-")] == [f"{n}-{number}" for number in range(EACH)]


def test_a_rejected_append_takes_nothing_else_of_its_group_with_it(tmp_path: Path) -> None:
    refused: list[EventRejected] = []

    with APP.open(tmp_path / "a.db") as space:

        def append_nonsense() -> list[Timestamp]:
            for _ in range(EACH):
                with pytest.raises(EventRejected, match="no such todo") as caught:
                    space.append(TodoAdded(id="nonsense", text="x"), TodoCompleted(id="nobody"))
                refused.append(caught.value)
            return []

        given = together(*[append_to(space, f"{n}") for n in range(4)], append_nonsense, append_nonsense)

        assert len(given) == 4 * EACH
        assert len(set(map(id, refused))) == 2 * EACH
        assert_one_history(space, given)


def test_transactions_see_no_others_work_half_done_and_never_overlap(tmp_path: Path) -> None:
    with APP.open(tmp_path / "a.db") as space:

        def count_up() -> list[Timestamp]:
            stamps: list[Timestamp] = []
            for _ in range(EACH // 4):
                with space.transaction() as tx:
                    last = tx.one("SELECT count(*) AS n FROM todo")
                    assert last is not None
                    # Were two transactions to read the same count, the second would be refused for its id.
                    stamps += tx.append(TodoAdded(id=str(last.n), text="x"))
            return stamps

        given = together(*[count_up] * 4, append_to(space, "meanwhile"))
        assert_one_history(space, given)


def test_readers_never_wait_for_a_writer_and_see_whole_transactions(tmp_path: Path) -> None:
    with APP.open(tmp_path / "a.db") as space, space.transaction() as tx:
        tx.append(TodoAdded(id="1", text="x"))

        assert together(lambda: [] if space.query("SELECT * FROM todo") == [] else pytest.fail("read too early")) == []


def test_two_spaces_on_one_file_in_one_process_share_one_history(tmp_path: Path) -> None:
    clock = Clock()
    with APP.open(tmp_path / "a.db", clock=clock) as one, APP.open(tmp_path / "a.db", clock=clock) as two:
        given = together(append_to(one, "one"), append_to(two, "two"), append_to(one, "one too"))

        assert one.digest() == two.digest()
        assert_one_history(two, given)


def test_two_spaces_on_one_file_that_both_seal_number_their_envelopes_in_one_chain(tmp_path: Path) -> None:
    with APP.open(tmp_path / "a.db") as one, APP.open(tmp_path / "a.db") as two:

        def append_and_seal(space: Space, name: str) -> Callable[[], list[Timestamp]]:
            def work() -> list[Timestamp]:
                stamps: list[Timestamp] = []
                for number in range(EACH // 2):
                    stamps += space.append(TodoAdded(id=f"{name}-{number}", text="x"))
                    space.seal()
                return stamps

            return work

        given = together(append_and_seal(one, "one"), append_and_seal(two, "two"))

        assert_one_history(one, given)
        assert envelope_numbers(tmp_path / "a.db") == list(range(1, len(envelope_numbers(tmp_path / "a.db")) + 1))


def test_what_one_space_receives_the_other_builds_upon(tmp_path: Path) -> None:
    with (
        APP.open(tmp_path / "a.db", clock=Clock(1_000)) as one,
        APP.open(tmp_path / "a.db", clock=Clock(1_000)) as two,
        APP.join(":memory:", one.invite(), clock=Clock(9_000)) as other,
    ):
        two.append(TodoAdded(id="1", text="x"))
        [later] = other.append(TodoAdded(id="2", text="x"))
        one.receive(other.envelopes_for(VersionVector()))

        [stamp] = two.append(TodoCompleted(id="2"))

        assert stamp > later
        assert two.query("SELECT done FROM todo WHERE id = '2'") == [(1,)]


APPEND = """
import sys
from pathlib import Path
from tests.space.test_together import APP, EACH, append_to
with APP.open(sys.argv[1]) as space:
    print("ready", flush=True)
    sys.stdin.readline()
    for stamp in append_to(space, sys.argv[2])():
        print(stamp.hlc, stamp.device.hex(), stamp.event_hash.hex())
    space.seal()
"""


@pytest.mark.slow
def test_two_processes_on_one_file_share_one_history(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    APP.open(path).close()
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", APPEND, str(path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for name in ("one", "two")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    lines: list[str] = []
    with APP.open(path) as space:
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        given = append_to(space, "parent")()
        for writer in writers:
            lines += writer.communicate()[0].splitlines()
            assert writer.returncode == 0

        assert len(lines) == 2 * EACH
        theirs: list[tuple[int, str, str]] = [
            (int(hlc), device, hashed) for hlc, device, hashed in map(str.split, lines)
        ]
        ours: list[tuple[int, str, str]] = [(stamp.hlc, stamp.device.hex(), stamp.event_hash.hex()) for stamp in given]
        logged = [entry.timestamp for entry in space.log()]
        assert sorted(theirs + ours) == [(stamp.hlc, stamp.device.hex(), stamp.event_hash.hex()) for stamp in logged]
        assert_one_history(space, logged)
        assert max(Counter(envelope_numbers(path)).values()) == 1


def envelope_numbers(path: Path) -> list[int]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [
            number for (number,) in connection.execute("SELECT batch_seq FROM driftlog_envelope ORDER BY batch_seq")
        ]
    finally:
        connection.close()
