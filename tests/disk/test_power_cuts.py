"""Power cuts after every operation on the disk, and by chance: nothing acknowledged is lost, and nothing is half done."""

import functools

import pytest

from driftlog.testing.disk import SimulatedDisk
from tests.disk.cutting import cut_all, every_cut
from tests.disk.judging import judge
from tests.disk.relays import DEVICES, Accepts, job, judge_relay, opened
from tests.disk.running import CASES, Case, run_every, run_random
from tests.disk.scenarios import added, relaxed
from tests.disk.world import World, record, workplace
from tests.protocol.fakes import chain

RANDOM_CUTS = 2_000
START = 20_000

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_power_cut_at_any_operation_loses_nothing_acknowledged_and_leaves_nothing_half_done(case: Case) -> None:
    result = run_every(case)

    assert result.failures == []
    assert result.images > 20


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_nor_does_one_that_keeps_drops_tears_and_reorders_what_was_not_synced(case: Case) -> None:
    result = run_random(case, RANDOM_CUTS // len(CASES) + 1, START)

    assert result.failures == []


def test_the_judge_finds_a_device_that_acknowledges_before_it_syncs() -> None:
    """Relaxed durability is just that, and held to what full durability promises it must fail."""
    journal = record(relaxed)
    with workplace() as directory:
        result = cut_all("relaxed", journal, every_cut(journal), functools.partial(judge, is_relaxed=False), directory)

    assert any("an acknowledged event is lost" in failure for failure in result.failures)


def test_the_judge_finds_a_device_that_hands_on_what_it_has_not_synced() -> None:
    def handing_on(world: World) -> None:
        with world.opened(durability="relaxed") as space, world.other(space) as other:
            for number in range(4):
                world.append(space, added(number))
                with space._engine.writing(is_synced=False) as store:
                    store.seal_pending()
                world.give(space, other)

    journal = record(handing_on)
    with workplace() as directory:
        result = cut_all("", journal, every_cut(journal), functools.partial(judge, is_relaxed=True), directory)

    assert any("an envelope that another device has is lost" in failure for failure in result.failures)


def test_the_judge_finds_a_relay_that_acknowledges_before_it_syncs() -> None:
    with workplace() as directory, SimulatedDisk(directory) as disk:
        writing = opened(disk)
        writing._connection.pragma("synchronous", "normal")
        for each in chain(DEVICES[0], 4):
            writing.commit([job([each])])
            disk.mark(Accepts((each,)))
        writing.close()
        with workplace() as elsewhere:
            result = cut_all("", disk.journal, every_cut(disk.journal), judge_relay, elsewhere)

    assert any("an acknowledged envelope is lost" in failure for failure in result.failures)
