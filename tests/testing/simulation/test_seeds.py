"""Two thousand seeds, each with thirty faults and more: nothing breaks, and every kind of fault is there."""

import pytest

from driftlog.testing.simulation.example import VERSIONS
from driftlog.testing.simulation.faults import FAULTS
from driftlog.testing.simulation.plan import draw
from driftlog.testing.simulation.run import run
from driftlog.testing.simulation.simulating import Simulated, explain

SEEDS = 2_000
BLOCK = 100
FIRED_MIN = 3
"""In each block: 60 in all, where 50 are asked for."""


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_fleets_agree_after_faults_of_all_kinds(first: int) -> None:
    simulated = Simulated()
    for seed in range(first, first + BLOCK):
        plan = draw(seed, has_older=True)
        assert len(plan.faults()) >= 30
        outcome = run(plan, VERSIONS)
        if outcome.failure is not None:
            pytest.fail(str(explain(plan, outcome, VERSIONS, f"python3 tasks.py simulate --seed {seed}")))
        simulated.add(outcome)

    assert {name for name in FAULTS if simulated.faults[name] < FIRED_MIN} == set(), "faults that hardly fired"
    assert simulated.faults.total() >= 30 * BLOCK, "a seed has thirty faults, not thirty tries"
