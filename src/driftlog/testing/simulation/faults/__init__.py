"""What is done to a simulated world, and how it is set right again."""

from driftlog.testing.simulation.faults import on_beginnings, on_devices, on_disks, on_events, on_messages, on_relays
from driftlog.testing.simulation.faults.healing import heal
from driftlog.testing.simulation.faults.registry import FAULTS, Fault

KINDS_OF_DISKS = frozenset(
    name for name, kind in FAULTS.items() if kind.inject.__module__ in {on_beginnings.__name__, on_disks.__name__}
)
"""The names of the faults of disks, for runs with no others, or without them."""

__all__ = [
    "FAULTS",
    "KINDS_OF_DISKS",
    "Fault",
    "heal",
    "on_beginnings",
    "on_devices",
    "on_disks",
    "on_events",
    "on_messages",
    "on_relays",
]
