"""When a device that has nothing to say says that it is here, so that it does not hold back what is settled.

Each device answers what the others have said, once, and after a while in which anything of its own would have been an
answer. Nothing answers an answer: devices with nothing to say fall silent.
"""

from typing import Final

from driftlog.space.engine import Engine

ACKNOWLEDGE_AFTER_MS: Final = 60_000
"""Many events have one answer, and a device makes at most one of these a minute: some 400 bytes on every other device. What
waits for events to be settled waits for people that are offline, to whom a minute is little."""


class Acknowledger:
    """Looks, whenever it is told to, whether it is time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._since_ms: int | None = None

    def look(self) -> None:
        """Acknowledge what has been here for a while."""
        with self._engine.reading() as store:
            is_due = store.has_unacknowledged()
        if not is_due:
            self._since_ms = None
            return
        now_ms = self._engine.clock()
        # A clock that was set back would make a while of years.
        if self._since_ms is None or now_ms < self._since_ms:
            self._since_ms = now_ms
        elif now_ms - self._since_ms >= ACKNOWLEDGE_AFTER_MS:
            self._engine.acknowledge()
            self._since_ms = None
