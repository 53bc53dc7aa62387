"""For tests of apps and of Driftlog itself: devices without a network, whether they will agree, and the worst days."""

from driftlog.testing.determinism import Nondeterministic, check_determinism
from driftlog.testing.fleet import exchange, fleet
from driftlog.testing.relay import RelayThread
from driftlog.testing.simulation import Simulated, SimulationFailed, Workload, simulate

__all__ = [
    "Nondeterministic",
    "RelayThread",
    "Simulated",
    "SimulationFailed",
    "Workload",
    "check_determinism",
    "exchange",
    "fleet",
    "simulate",
]
