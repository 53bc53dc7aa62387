"""The plan of a rebase: what comes before something applied is woven in, and all is undone only where that is cheaper."""

import random

import pytest

from driftlog._core.clock import Hlc, Timestamp
from driftlog._core.ids import DeviceKey, EventHash
from driftlog._core.merge import Extend, Weave, before_a_rewind_min, plan_rebase, undone_one_by_one_max


def stamps(rng: random.Random, count: int) -> list[Timestamp]:
    """Draw distinct timestamps with many equal stamps: ties are where an order goes wrong."""
    drawn = {(rng.randrange(4), rng.randrange(3), rng.randrange(3)) for _ in range(count)}
    places = [Timestamp(Hlc(a), DeviceKey(bytes([b])), EventHash(bytes([c]))) for a, b, c in sorted(drawn)]
    rng.shuffle(places)
    return places


def test_arrivals_are_woven_in_from_the_earliest_on_and_never_without_need() -> None:
    for seed in range(2000):
        rng = random.Random(seed)
        last, *arrived = stamps(rng, 10) + stamps(rng, 2)
        arrived = [at for at in arrived if at != last]
        if not arrived:
            continue
        plan = plan_rebase(last, arrived)
        assert plan == (Extend() if min(arrived) > last else Weave(min(arrived)))


def test_an_empty_view_is_only_ever_extended() -> None:
    for seed in range(300):
        assert plan_rebase(None, stamps(random.Random(seed), 5)) == Extend()


def test_a_plan_for_nothing_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        plan_rebase(None, [])


def test_a_few_events_are_undone_one_by_one_and_most_of_many_in_one_run() -> None:
    assert undone_one_by_one_max(0) == undone_one_by_one_max(16) == 16
    assert undone_one_by_one_max(100_000) < 50_000


def test_a_rebuild_is_chosen_only_where_little_lies_before_much() -> None:
    assert before_a_rewind_min(0) == 0
    assert before_a_rewind_min(1) == 1
    assert 1_000 < before_a_rewind_min(100_000) <= 50_000
