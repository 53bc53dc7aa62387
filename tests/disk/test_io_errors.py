"""An I/O error at any operation of a device or relay: nothing half done, the same call succeeds later, and what is then
acknowledged survives a power cut, although a failed sync leaves pages that no later sync will write.
"""

from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import apsw
import pytest

from driftlog import Space
from driftlog._core.version_vector import VersionVector
from driftlog._sqlite import connection as connection_module
from driftlog._sqlite.connection import Durability
from driftlog._sqlite.wal import move_wal_when_long
from driftlog.errors import Closed, DriftlogError, StorageError
from driftlog.testing.disk import SYNCED, Fault, OneFault, SimulatedDisk, cuts, write_image
from driftlog.testing.disk.faults import Kind
from driftlog.testing.disk.journal import Wrote
from tests.disk.cutting import cut_all, random_cuts
from tests.disk.judging import judge
from tests.disk.relays import DEVICES, Accepts, job, judge_relay, opened
from tests.disk.scenarios import added
from tests.disk.world import NAME, World, device_app, workplace
from tests.protocol.fakes import chain
from tests.todo_app import Clock, TodoCompleted, TodoRenamed

APP = device_app()
KINDS: tuple[Kind, ...] = ("read", "write", "sync", "truncate", "size")
TRIES_MAX = 3
SYNC_CUTS = 24
"""Random power cuts after each sync that failed."""
EVENTS = 60
CUTS = 60
"""Random power cuts of a script of so many events."""

pytestmark = pytest.mark.slow


def steps(world: World, space: Space, other: Space) -> list[Callable[[], object]]:
    """What the device does, each of which may meet the fault and is then done again."""
    other.append(*[added(f"late-{number}") for number in range(3)])
    return [
        lambda: world.append(space, added(0)),
        lambda: world.append(space, *[added(number, 700) for number in range(1, 8)]),
        lambda: space.query("SELECT * FROM todo"),
        lambda: world.take(space, other),
        lambda: move_wal(space),
        lambda: world.append(space, TodoRenamed(id="late-0", text="y")),
        space.seal,
        lambda: world.give(space, other),
        lambda: space.execute_local("INSERT OR REPLACE INTO draft VALUES ('1', 'half')"),
        space.rebuild,
        lambda: world.append(space, *[added(f"more-{number}", 700) for number in range(8)]),
        lambda: move_wal(space),
        lambda: decide(world, space),
        space.digest,
        lambda: list(space.log()),
        space.status,
    ]


def move_wal(space: Space) -> None:
    with space._engine.reading() as store:
        store.connection.execute("PRAGMA wal_checkpoint")


def decide(world: World, space: Space) -> None:
    with space.transaction() as tx:
        assert tx.one("SELECT 1 FROM todo WHERE id = '1'")
        at = tx.append(TodoCompleted(id="1"))
    world.note_appended(at)


class Ran:
    """What became of a run."""

    def __init__(self) -> None:
        self.digest = b""
        self.events = 0
        self.failed = 0
        self.reopened = 0


def run(world: World, fault: Fault | None, durability: Durability = "full") -> Ran:
    """Do it all, each step until it succeeds."""
    ran = Ran()
    with world.opened(durability=durability) as space, world.other(space, 1_000) as other:
        todo = steps(world, space, other)
        world.disk.faults = fault
        for step in todo:
            ran.failed += do(step, world.path)
        world.disk.faults = None
        ran.digest, ran.events, ran.reopened = space.digest(), len(list(space.log())), space._engine.reopening.count
    return ran


def do(step: Callable[[], object], path: Path) -> int:
    """Do a step, again where it fails, and give how often it did; a failure leaves the log as it was."""
    for failed in range(TRIES_MAX):
        before = logged(path)
        try:
            step()
        except StorageError as error:
            if isinstance(error, Closed):
                raise
            # Without the simulated disk, which may be about to fail again.
            assert logged(path) - before == 0, "something was half done"
            continue
        return failed
    raise AssertionError("a fault that is over goes on")


def logged(path: Path) -> int:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        number: int = connection.execute("SELECT count(*) FROM driftlog_entry").get
        return number
    finally:
        connection.close()


@pytest.mark.parametrize("durability", ["full", "relaxed"])
@pytest.mark.parametrize("kind", KINDS)
def test_after_an_io_error_anywhere_the_same_call_succeeds_and_all_is_as_if_it_had_not_been(
    kind: Kind, durability: Durability
) -> None:
    with workplace() as directory, SimulatedDisk(directory) as disk:
        expected = run(World.seeded(disk), None, durability)
    met = 0
    for number in count(1):
        with workplace() as directory, SimulatedDisk(directory) as disk:
            world, fault = World.seeded(disk), OneFault(number, kind)
            ran = run(world, fault, durability)
            if not fault.failed:
                break
            assert (ran.digest, ran.events) == (expected.digest, expected.events)
            # What SQLite does without, such as moving the WAL after a commit, fails in silence and is done later.
            assert ran.reopened >= ran.failed
            met += ran.failed
            if kind == "sync":
                with workplace() as elsewhere:
                    plan = random_cuts(disk.journal, SYNC_CUTS, number)
                    result = cut_all(
                        f"{kind} {number}",
                        disk.journal,
                        plan,
                        partial(judge, is_relaxed=durability == "relaxed"),
                        elsewhere,
                    )
                assert result.failures == []
    assert met, "no call ever met the fault"


def test_a_disk_that_goes_on_failing_is_named_at_each_call_until_it_does_not(tmp_path: Path) -> None:
    with SimulatedDisk(tmp_path) as disk, APP.open(tmp_path / "todos.db", vfs=disk.vfs, clock=Clock()) as space:
        space.append(added(0))
        disk.faults = OneFault(1, "sync", lasts=True)

        for _ in range(3):
            with pytest.raises(StorageError, match=r"todos\.db: IOError"):
                space.append(added(1))
        with pytest.raises(StorageError, match=r"todos\.db: IOError"):
            space.query("SELECT 1")

        disk.faults = None
        space.append(added(1))
        assert {row.id for row in space.query("SELECT id FROM todo")} == {"0", "1"}


def test_a_file_that_reads_back_otherwise_than_it_was_written_is_not_appended_to(tmp_path: Path) -> None:
    with SimulatedDisk(tmp_path) as disk, APP.open(tmp_path / "todos.db", vfs=disk.vfs, clock=Clock()) as space:
        space.append(added(0))
        disk.faults = OneFault(1, "sync")
        with pytest.raises(StorageError):
            space.append(added(1))
        other = apsw.Connection(str(tmp_path / "todos.db"))
        other.execute("UPDATE driftlog_log SET payload = x'80'")
        other.close()

        for _ in range(2):
            with pytest.raises(StorageError, match="opened anew after an I/O error, and the event with stamp"):
                space.append(added(1))


def test_a_relay_acknowledges_after_a_failed_sync_only_what_a_power_cut_leaves() -> None:
    met = 0
    for number in count(1):
        with workplace() as directory, SimulatedDisk(directory) as disk:
            writing = opened(disk)
            writing._connection.pragma("wal_autocheckpoint", 0)
            disk.faults = fault = OneFault(number, "sync")
            for each in chain(DEVICES[0], 8):
                try:
                    writing.commit([job([each])])
                except StorageError:
                    met += 1
                    writing.reopen()
                    writing.commit([job([each])])
                disk.mark(Accepts((each,)))
            disk.faults = None
            with workplace() as elsewhere:
                plan = random_cuts(disk.journal, SYNC_CUTS, number)
                assert cut_all(f"sync {number}", disk.journal, plan, judge_relay, elsewhere).failures == []
            writing.close()
            if not fault.failed:
                break
    assert met >= 3


def test_a_file_that_could_not_be_opened_for_a_moment_is_not_read_as_one_that_nobody_writes(tmp_path: Path) -> None:
    path = tmp_path / "todos.db"
    with SimulatedDisk(tmp_path) as disk:
        with APP.open(path, vfs=disk.vfs, clock=Clock()) as space:
            space.append(added(0))
        refusals: list[str] = []
        for number in count(1):
            disk.faults = fault = OneFault(number, "open")
            try:
                with APP.open(path, vfs=disk.vfs, clock=Clock()) as space:
                    assert not space.is_read_only
            except StorageError as error:
                refusals.append(str(error))
            disk.faults = None
            if not fault.failed:
                break
        assert refusals
        assert all("todos.db cannot be opened" in refusal for refusal in refusals)
        with APP.open(path, vfs=disk.vfs, clock=Clock()) as space:
            space.append(added(1))


@pytest.mark.parametrize("durability", ["full", "relaxed"])
def test_a_space_that_is_closed_in_doubt_moves_into_the_database_only_what_is_on_the_disk(
    durability: Durability,
) -> None:
    with workplace() as directory, SimulatedDisk(directory) as disk:
        world = World.seeded(disk)
        with world.opened(durability=durability) as space:
            move_wal(space)
            for event in range(EVENTS):
                world.append(space, added(event, 700))
            disk.faults = OneFault(1, "sync")
            # Relaxed, an append syncs nothing.
            syncing = space.seal if durability == "relaxed" else partial(world.append, space, added("more"))
            with pytest.raises(StorageError):
                syncing()
            disk.faults = None
            before = len(disk.journal)
        assert is_moved(disk, before) is (durability == "full")
        with workplace() as elsewhere:
            plan = random_cuts(disk.journal, 2 * CUTS, 1)
            judging = partial(judge, is_relaxed=durability == "relaxed")
            assert cut_all("closed", disk.journal, plan, judging, elsewhere).failures == []


@pytest.mark.parametrize("number", range(2, 6))
def test_a_sync_that_fails_while_a_relaxed_wal_is_moved_tears_no_database(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "WAL_BYTES", 64 << 10)
    with workplace() as directory, SimulatedDisk(directory) as disk:
        world, fault = World.seeded(disk), OneFault(number, "sync")
        with world.opened(durability="relaxed") as space:
            disk.faults = fault
            for event in range(EVENTS):
                try:
                    world.append(space, added(event, 700))
                except StorageError:
                    # The first write into a WAL that begins anew syncs its head; nothing was recorded.
                    world.append(space, added(event, 700))
            disk.faults = None
        assert fault.failed
        with workplace() as elsewhere:
            plan = random_cuts(disk.journal, CUTS, number)
            result = cut_all(f"sync {number}", disk.journal, plan, partial(judge, is_relaxed=True), elsewhere)
        assert result.failures == []


@pytest.mark.parametrize("is_closing", [False, True], ids=["after a commit", "on closing"])
def test_a_sync_that_fails_in_one_relaxed_process_tears_no_database_that_another_moves_the_wal_into(
    *, is_closing: bool
) -> None:
    with workplace() as directory, SimulatedDisk(directory) as disk:
        world = World.seeded(disk)
        with world.opened(durability="relaxed") as second:
            with world.opened(durability="relaxed") as first:
                move_wal(first)
                for event in range(EVENTS):
                    world.append(first, added(event, 700))
                disk.faults = OneFault(1, "sync")
                with pytest.raises(StorageError):
                    first.seal()
                disk.faults = None
            before = len(disk.journal)
            if not is_closing:
                move_wal_when_long(second._engine._connection, 1)
                world.append(second, added("second"))
                assert is_moved(disk, before)
        assert is_moved(disk, before)
        with workplace() as elsewhere:
            plan = random_cuts(disk.journal, 2 * CUTS, 1)
            result = cut_all("two", disk.journal, plan, partial(judge, is_relaxed=True), elsewhere)
        assert result.failures == []


def is_moved(disk: SimulatedDisk, before: int) -> bool:
    """Tell whether the WAL was moved into the database since a moment of the journal."""
    return any(isinstance(done, Wrote) and done.file == NAME for done in disk.journal[before:])


def test_what_a_relaxed_process_hands_on_after_it_could_not_move_its_wal_outlives_power(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    with SimulatedDisk(here) as disk, APP.open(here / NAME, vfs=disk.vfs, clock=Clock(), durability="relaxed") as space:
        move_wal(space)
        space.append(added(0))
        disk.faults = fault = OneFault(1, "sync")
        move_wal_when_long(space._engine._connection, 1)
        space.append(added(1))
        assert fault.failed, "the WAL was not moved"
        disk.faults = None
        move_wal_when_long(space._engine._connection, 10_000)
        given = list(space.envelopes_for(VersionVector()))
        [*_, cut] = cuts(disk.journal)
        write_image(cut.image(SYNCED), there)

    with APP.open(there / NAME, clock=Clock()) as space:
        assert list(space.envelopes_for(VersionVector())) == given
        assert len(space.query("SELECT id FROM todo")) == 2


@pytest.mark.parametrize("durability", ["full", "relaxed"])
def test_a_space_may_be_closed_within_a_transaction(tmp_path: Path, durability: Durability) -> None:
    path = tmp_path / NAME
    with APP.open(path, clock=Clock(), durability=durability) as space:
        space.append(added(0))
        transaction = space.transaction()
        transaction.__enter__().append(added(1))
        space.close()
        with pytest.raises(DriftlogError, match="closed"):
            transaction.__exit__(None, None, None)

    with APP.open(path, clock=Clock()) as space:
        assert space.query("SELECT id FROM todo") == [("0",)]
