"""The simulator is judged: each deliberate mistake in Driftlog is found within a stated number of seeds."""

import pytest

from driftlog.testing.simulation.example import VERSIONS
from driftlog.testing.simulation.plan import draw
from driftlog.testing.simulation.run import run
from tests.testing.simulation.zoo import ZOO, Mistake


@pytest.mark.slow
@pytest.mark.parametrize("mistake", ZOO.values(), ids=ZOO)
def test_a_mistake_is_found(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake.make(monkeypatch)

    assert any(
        run(draw(seed, has_older=True), VERSIONS).failure is not None for seed in range(1, 1 + mistake.seeds_max)
    )
