"""The judges are judged: each deliberate mistake in Driftlog is found within a stated number of seeds or scenarios."""

import pytest

from tests.zoo.all import MISTAKES
from tests.zoo.mistakes import Mistake, find

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_found(mistake: Mistake) -> None:
    assert find(mistake) is not None


def test_there_are_forty_mistakes_and_more() -> None:
    assert len(MISTAKES) >= 40
