"""For tests of apps and of Driftlog itself: devices without a network, whether they will agree, and the worst days."""

from driftlog.testing.convergence import Diverged, check_convergence, play
from driftlog.testing.crew import Crew
from driftlog.testing.determinism import Nondeterministic, check_determinism
from driftlog.testing.fleet import exchange, fleet
from driftlog.testing.relay import RelayThread
from driftlog.testing.simulation import Simulated, SimulationFailed, Workload, simulate

__all__ = [
    "Crew",
    "Diverged",
    "Nondeterministic",
    "RelayThread",
    "Simulated",
    "SimulationFailed",
    "Workload",
    "check_convergence",
    "check_determinism",
    "exchange",
    "fleet",
    "play",
    "simulate",
]
