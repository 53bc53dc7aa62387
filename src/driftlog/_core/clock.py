"""The hybrid logical clock: one 64-bit integer, 48 bits of milliseconds over a 16-bit counter.

After Kulkarni et al., "Logical Physical Clocks and Consistent Snapshots in Globally Distributed Databases" (2014), with
one change: the counter carries into the milliseconds instead of overflowing, so that appending never fails because of a
clock, however long it stands still. A stamp is therefore a lower bound of "later than everything I had seen", and only
as good a wall time as the device's clock was; what the user's clock showed is a field of its own.
"""

from typing import NamedTuple, NewType

from driftlog._core.ids import DeviceKey, EventHash, short
from driftlog._core.limits import CLOCK_MS_MAX, HOLD_MS, WALL_MS_MAX

Hlc = NewType("Hlc", int)
"""A stamp of the hybrid logical clock: milliseconds since 1970 in the upper 48 bits, a counter in the lower 16."""

COUNTER_BITS = 16


class Timestamp(NamedTuple):
    """An event's place in the total order: by stamp, then device, then the event's hash."""

    hlc: Hlc
    device: DeviceKey
    event_hash: EventHash

    def __str__(self) -> str:
        return f"{self.hlc >> COUNTER_BITS}.{self.hlc & 0xFFFF}@{short(self.device)}"


def tick(last: int, now_ms: int) -> Hlc:
    """Give the stamp for a new event: after `last`, and not before the clock's `now_ms`. Any clock value will do.

    A clock beyond `CLOCK_MS_MAX` shows nothing worth following; the stamp then only counts on from `last`.
    """
    wall = now_ms << COUNTER_BITS if now_ms <= CLOCK_MS_MAX else 0
    return Hlc(max(last + 1, wall))


def wall_time(now_ms: int) -> int:
    """Give what a clock shows as it is kept with an event: as it is, unless it is beyond all reason."""
    return max(-WALL_MS_MAX, min(WALL_MS_MAX, now_ms))


def hlc_ms(hlc: int) -> int:
    """Give the milliseconds since 1970 that a stamp stands for."""
    return hlc >> COUNTER_BITS


def is_held(hlc: int, now_ms: int) -> bool:
    """Tell whether another device's stamp is too far ahead of this device's clock to be applied yet."""
    return hlc >> COUNTER_BITS > min(now_ms, CLOCK_MS_MAX) + HOLD_MS


def last_not_held(now_ms: int) -> int:
    """Give the greatest stamp that is not held."""
    return ((min(now_ms, CLOCK_MS_MAX) + HOLD_MS + 1) << COUNTER_BITS) - 1
