"""What is done to a simulated world, and how it is set right again."""

from driftlog.testing.simulation.faults import on_devices, on_disks, on_events, on_messages, on_relays
from driftlog.testing.simulation.faults.healing import heal
from driftlog.testing.simulation.faults.registry import FAULTS, Fault

__all__ = ["FAULTS", "Fault", "heal", "on_devices", "on_disks", "on_events", "on_messages", "on_relays"]
