"""What an app's author sees: seeds that pass, and a failure that says how to run it again and what it takes."""

import gc
import os
import random
import subprocess
import sys
from itertools import count

import pytest

from driftlog import App, Event, Space, ViewTransaction, reject
from driftlog.testing import SimulationFailed, simulate
from driftlog.testing.simulation.command import main
from driftlog.testing.simulation.example import VERSIONS, app, older_app, work, work_in_old
from driftlog.testing.simulation.plan import WORK, Plan, draw
from driftlog.testing.simulation.reduction import reduce
from driftlog.testing.simulation.run import run
from driftlog.testing.simulation.world import World

TABLES = "CREATE TABLE seen (name TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT"


class Happened(Event):
    n: int


def _count(space: Space, rng: random.Random) -> None:
    space.append(Happened(n=rng.randrange(5)))


def _counting() -> App:
    counting = App("org.example.counting", tables=TABLES)

    @counting.on(Happened)
    def happened(tx: ViewTransaction, event: Happened) -> None:
        tx.execute("INSERT INTO seen VALUES ('last', ?) ON CONFLICT (name) DO UPDATE SET n = excluded.n", (event.n,))

    return counting


def test_an_app_without_mistakes_passes() -> None:
    simulated = simulate(_counting(), _count, seeds=range(3), faults=(4, 8))

    assert simulated.seeds == 3
    assert simulated.events > 0
    assert simulated.faults.total() > 0


def test_older_versions_of_an_app_take_part() -> None:
    simulated = simulate(app, work, seeds=range(3), older=[(older_app, work_in_old)])

    assert simulated.seeds == 3


def test_an_app_that_draws_by_itself_is_found_with_few_faults_and_told_how_to_run_again() -> None:
    dice = random.Random(1)
    gambling = App("org.example.gambling", tables=TABLES)

    @gambling.on(Happened)
    def happened(tx: ViewTransaction, event: Happened) -> None:
        tx.execute("INSERT OR REPLACE INTO seen VALUES ('last', ?)", (dice.randrange(1000),))

    with pytest.raises(SimulationFailed, match=r"view of .* is not the one of a fresh device") as failed:
        simulate(gambling, _count, seeds=[7])

    assert "run it again: simulate(..., seeds=[7])" in str(failed.value)
    assert "it fails with 0 of its" in str(failed.value)


def test_what_a_workload_asserts_is_a_failure() -> None:
    def doubt(space: Space, rng: random.Random) -> None:
        _count(space, rng)
        assert len(space.query("SELECT * FROM seen")) == 0, "there is a row"

    with pytest.raises(SimulationFailed, match="there is a row"):
        simulate(_counting(), doubt, seeds=[1], faults=(3, 3))


@pytest.mark.parametrize("seed", range(12))
def test_a_seed_leaves_one_trace(seed: int) -> None:
    plan = draw(seed, has_older=True)

    first, second = run(plan, VERSIONS), run(plan, VERSIONS)

    assert (first.trace, first.lines, first.counts) == (second.trace, second.lines, second.counts)


def test_seeds_leave_different_traces() -> None:
    assert run(draw(1, has_older=True), VERSIONS).trace != run(draw(2, has_older=True), VERSIONS).trace


@pytest.mark.slow
def test_a_trace_depends_on_no_hash_seed() -> None:
    command = [sys.executable, "-m", "driftlog.testing.simulation", "--seed", "3"]
    said = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True
        ).stdout
        for hash_seed in ("1", "2", "3")
    }

    assert len(said) == 1
    assert "passes; trace" in said.pop()


def test_a_failure_is_reduced_to_what_it_takes() -> None:
    plan = draw(5, has_older=True)
    places = plan.faults()
    wanted = {plan.moments[places[3]], plan.moments[places[20]]}

    reduced = reduce(plan, lambda shorter: {m.seed for m in wanted} <= {m.seed for m in shorter.moments})

    assert {moment.seed for moment in reduced.moments} == {moment.seed for moment in wanted}
    assert sum(m.after_ms for m in reduced.moments) <= sum(m.after_ms for m in plan.moments)


def test_a_reduction_is_bounded() -> None:
    calls: list[Plan] = []
    plan = draw(5, has_older=True)

    def fails(shorter: Plan) -> bool:
        calls.append(shorter)
        return any(moment.name == WORK for moment in shorter.moments)

    reduce(plan, fails, runs_max=7)

    assert len(calls) == 7


def test_the_command_runs_seeds_and_counts_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "3", "--faults", "3", "5"]) == 0

    said = capsys.readouterr().out
    assert "3 of 3 seeds, 0 failed" in said
    assert "a relay forgets everything" in said


def test_the_command_ends_when_its_minutes_are_over(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--minutes", "0.001", "--faults", "3", "5"]) == 0

    assert " events, agreement at most " in capsys.readouterr().out


def test_the_command_names_what_it_cannot_find(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--app", "driftlog.testing.simulation.example:app", "nowhere:work"]) == 2

    assert "there is no module 'nowhere'" in capsys.readouterr().out


def test_an_event_that_cannot_be_appended_at_all_is_the_workloads_mistake_and_fails() -> None:
    def too_large(space: Space, rng: random.Random) -> None:
        space.append(Happened(n=rng.choice([1 << 70])))

    with pytest.raises(SimulationFailed, match="seed 0: InvalidEvent: Happened"):
        simulate(_counting(), too_large, seeds=range(2), faults=(0, 0))


def test_what_is_raised_without_words_is_told_by_its_line() -> None:
    def assume(space: Space, _: random.Random) -> None:
        if not space.query("SELECT * FROM seen"):
            raise LookupError

    with pytest.raises(SimulationFailed, match=r"LookupError at `raise LookupError`, test_simulating\.py:\d+"):
        simulate(_counting(), assume, seeds=range(1), faults=(0, 0))


def test_a_world_that_is_over_leaves_nothing_in_memory() -> None:
    hostile = next(plan for plan in map(_draw, count()) if "an event dated back" in {one.name for one in plan.moments})

    run(hostile, VERSIONS)

    gc.collect()
    assert [one for one in gc.get_objects() if isinstance(one, World)] == []


def _draw(seed: int) -> Plan:
    return draw(seed, has_older=True, faults=(4, 8))


def test_where_nothing_is_appended_nothing_is_shown() -> None:
    refusing = App("org.example.refusing", tables=TABLES)

    @refusing.on(Happened)
    def happened(_: ViewTransaction, __: Happened) -> None:
        reject("never")

    def refused(space: Space, rng: random.Random) -> None:
        space.append(Happened(n=rng.randrange(5)))

    with pytest.raises(SimulationFailed, match="refused appended no event, so nothing was shown"):
        simulate(refusing, refused, seeds=range(2), faults=(0, 0))


def see(space: Space, rng: random.Random) -> None:
    """Do nothing: what the command below is given for a workload."""


def test_the_command_says_that_nothing_was_shown(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["driftlog.testing.simulation.example:app", f"{__name__}:see"]

    assert main(["--seeds", "1", "--faults", "0", "0", "--app", *names]) == 1

    assert f"{names[1]} appended no event" in capsys.readouterr().out
