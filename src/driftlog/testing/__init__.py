"""For tests of apps and of Driftlog itself: devices without a network, in one process."""

from driftlog.testing.fleet import exchange, fleet

__all__ = ["exchange", "fleet"]
