"""Fleets of devices and relays in one process, drawn from one seed, that go through faults of all kinds and must agree.

Layers, from the bottom: `trace`, `loop` (hosts that take turns, virtual time), `network`, `files`, `clocks`; `device`,
`relay`, `ledger`, `world`, `stranger`; `faults`; `plan`, `run`, `verdict`, `reduction`; `simulating`, `campaign` and
`command`.
"""

from driftlog.testing.simulation.simulating import Simulated, SimulationFailed, simulate
from driftlog.testing.simulation.versions import Workload

__all__ = ["Simulated", "SimulationFailed", "Workload", "simulate"]
