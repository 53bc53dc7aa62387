"""All mistakes: those that must be found, and those that are known not to be."""

from tests.zoo import (
    healed_on_devices,
    healed_on_relays,
    on_disks,
    on_drives,
    on_live,
    on_logs,
    on_relays,
    on_sync,
    on_traffic,
    on_verdicts,
)
from tests.zoo.mistakes import Mistake, Zoo


def _merged(*zoos: Zoo) -> dict[str, Mistake]:
    return {name: mistake for zoo in zoos for name, mistake in zoo.mistake_by_name.items()}


MISTAKES = _merged(
    on_logs.ZOO,
    on_verdicts.ZOO,
    on_sync.ZOO,
    on_relays.ZOO,
    on_traffic.ZOO,
    on_live.ZOO,
    on_disks.ZOO,
    on_drives.ZOO,
)
HEALED = _merged(healed_on_devices.ZOO, healed_on_relays.ZOO, on_live.HEALED)
"""Nothing is held to find these: they are kept so that a better workload or judge can be tried on them."""
