"""Mistakes that fleets show whose disks fail, fill up, and lose power: each is given runs with such faults only."""

from contextlib import nullcontext

import pytest

from driftlog.space import engine as engine_module
from driftlog.space import opening
from tests.zoo.mistakes import Zoo, seeds_of_disks
from tests.zoo.on_disks import _with_pragma

ZOO = Zoo()


@ZOO.within(10, seeds_of_disks)
def a_device_of_a_fleet_acknowledges_before_it_syncs(patch: pytest.MonkeyPatch) -> None:
    """SQLite's default for WAL in many languages' drivers, synchronous=NORMAL, under an app that promises to keep things."""
    _with_pragma(patch, opening, "connect", "synchronous", "normal")


@ZOO.within(40, seeds_of_disks)
def what_a_relaxed_device_hands_on_is_not_synced_first(patch: pytest.MonkeyPatch) -> None:
    """After a power cut it gives a number again that others have an envelope for, and its key has forked."""
    patch.setattr(engine_module, "synced_to_disk", lambda _: nullcontext())
