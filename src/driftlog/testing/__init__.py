"""For tests of apps and of Driftlog itself: devices without a network, in one process."""

from driftlog.testing.fleet import exchange, fleet
from driftlog.testing.relay import RelayThread

__all__ = ["RelayThread", "exchange", "fleet"]
