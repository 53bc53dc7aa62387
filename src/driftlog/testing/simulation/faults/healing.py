"""The end of all faults: everything that is not lost runs again, as it should."""

from driftlog.relay.writing import SPACE_BYTES_MAX
from driftlog.testing.simulation.world import World


def heal(world: World) -> None:
    """Set right what a person could: relays and devices run, with the newest app, right clocks and an open network."""
    world.note("heal")
    world.hasten()
    world.is_healed = True
    world.network.taps.clear()
    for way in list(world.network.shut):
        while way in world.network.shut:
            world.network.open_direction(*way)
    for relay in world.relays:
        was_forked = relay.twin is not None
        relay.unfork()
        relay.quota_bytes = SPACE_BYTES_MAX
        if relay.server is None:
            relay.boot()
        if was_forked:
            world.ledger.relay_lost()
    for device in world.here():
        if device.is_up:
            device.crash()
        device.clock.set_right()
        device.is_to_stay_down = False
        device.version = len(world.versions) - 1
        device.boot()
    world.check()
