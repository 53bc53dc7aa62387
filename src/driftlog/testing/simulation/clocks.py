"""A device's clock: the world's time, wrong by some amount, standing still, or about to end the process that looks at it."""

from driftlog.testing.simulation.loop import Killed, VirtualLoop


class DeviceClock:
    """Gives milliseconds since 1970, as this device believes."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._offset_ms = 0
        self._stuck_at_ms: int | None = None
        self.looks_left: int | None = None
        """Set to die at the so manieth look from now."""
        self.shown_ms_max = 0
        """The latest time that it ever showed."""

    def __call__(self) -> int:
        if self.looks_left is not None:
            self.looks_left -= 1
            if self.looks_left < 0:
                self.looks_left = None
                raise Killed
        now_ms = self.now_ms
        self.shown_ms_max = max(self.shown_ms_max, now_ms)
        return now_ms

    @property
    def now_ms(self) -> int:
        """What it shows."""
        return self._loop.now_ms + self._offset_ms if self._stuck_at_ms is None else self._stuck_at_ms

    def shift(self, delta_ms: int) -> None:
        """Jump."""
        self._offset_ms += delta_ms

    def stick(self) -> None:
        """Stand still."""
        self._stuck_at_ms = self.now_ms

    def set_right(self) -> None:
        """Show the world's time, and go."""
        self._offset_ms = 0
        self._stuck_at_ms = None
        self.looks_left = None
