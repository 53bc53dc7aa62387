"""For tests of apps and of Driftlog itself: devices without a network, and whether they will agree."""

from driftlog.testing.determinism import Nondeterministic, check_determinism
from driftlog.testing.fleet import exchange, fleet
from driftlog.testing.relay import RelayThread

__all__ = ["Nondeterministic", "RelayThread", "check_determinism", "exchange", "fleet"]
