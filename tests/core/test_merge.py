"""The plan of a rebase: it rewinds exactly as far as the earliest late event asks for, once for all that arrived."""

import random

import pytest

from driftlog._core.clock import Hlc, Timestamp
from driftlog._core.ids import DeviceKey, EventHash
from driftlog._core.merge import Extend, Rewind, plan_rebase


def stamps(rng: random.Random, count: int) -> list[Timestamp]:
    """Draw distinct timestamps with many equal stamps: ties are where an order goes wrong."""
    drawn = {(rng.randrange(4), rng.randrange(3), rng.randrange(3)) for _ in range(count)}
    places = [Timestamp(Hlc(a), DeviceKey(bytes([b])), EventHash(bytes([c]))) for a, b, c in sorted(drawn)]
    rng.shuffle(places)
    return places


def folded(order: list[Timestamp], arrived: list[Timestamp]) -> list[Timestamp]:
    """Carry a plan out on the order itself, which stands for a view that depends on everything before it."""
    match plan_rebase(order[-1] if order else None, arrived):
        case Extend():
            return order + sorted(arrived)
        case Rewind(start):
            kept = [at for at in order if at < start]
            return kept + sorted([at for at in order if at >= start] + arrived)


def test_whatever_arrives_in_whatever_runs_the_order_is_the_sorted_set() -> None:
    for seed in range(2000):
        rng = random.Random(seed)
        left = stamps(rng, rng.randint(1, 20))
        everything = sorted(left)
        order: list[Timestamp] = []
        while left:
            run, left = left[: (cut := rng.randint(1, len(left)))], left[cut:]
            order = folded(order, run)
        assert order == everything


def test_a_rewind_begins_at_the_earliest_arrival_and_never_without_need() -> None:
    for seed in range(2000):
        rng = random.Random(seed)
        last, *arrived = stamps(rng, 10) + stamps(rng, 2)
        arrived = [at for at in arrived if at != last]
        if not arrived:
            continue
        plan = plan_rebase(last, arrived)
        assert plan == (Extend() if min(arrived) > last else Rewind(min(arrived)))


def test_an_empty_view_is_only_ever_extended() -> None:
    for seed in range(300):
        assert plan_rebase(None, stamps(random.Random(seed), 5)) == Extend()


def test_a_plan_for_nothing_is_our_own_mistake() -> None:
    with pytest.raises(AssertionError):
        plan_rebase(None, [])
