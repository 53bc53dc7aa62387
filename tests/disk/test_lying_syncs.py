"""Syncs that lie: whatever is lost, the devices agree in the end, or the file is refused in words (P3)."""

from collections import Counter

import pytest

from tests.disk.lying import judge_lie
from tests.disk.scenarios import SCENARIOS, appending_to_all_kinds, moving_the_wal, sealing
from tests.disk.world import Scenario, record, workplace

EACH = 60

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("scenario", [sealing, moving_the_wal, appending_to_all_kinds], ids=lambda each: each.__name__)
def test_what_a_lying_disk_loses_is_refused_found_or_healed_and_never_diverges_in_silence(scenario: Scenario) -> None:
    assert scenario in SCENARIOS
    journal = record(scenario)
    outcome: Counter[str] = Counter()
    with workplace() as directory:
        for seed in range(EACH):
            outcome += judge_lie(journal, seed, directory)

    assert outcome["lies"] == EACH
    assert outcome["lost a suffix"] + outcome["found by verify"] + outcome["refused at open"] > 0
