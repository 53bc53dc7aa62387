"""However late events come and whatever is undone, the view and all verdicts are the fold of the sorted log."""

from collections import Counter

import pytest

from tests.weaving import EXPECTED, run_weaving

BLOCKS, BLOCK_CASES = 40, 500


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
def test_events_woven_in_any_order_give_the_fold_of_the_log(block: int) -> None:
    counts: Counter[str] = Counter()
    for seed in range(block * BLOCK_CASES, (block + 1) * BLOCK_CASES):
        counts += run_weaving(seed)
    rare = {kind: counts[kind] for kind in EXPECTED if counts[kind] < BLOCK_CASES // 50}
    assert not rare, "a way that is rare here is not tested"
