"""The end of all faults: everything that is not lost runs again, as it should."""

from driftlog.relay.writing import SPACE_BYTES_MAX
from driftlog.testing.simulation.mending import replace_if_stuck
from driftlog.testing.simulation.world import World


def heal(world: World) -> None:
    """Set right what a person could: relays and devices run, with the newest app, right clocks and an open network."""
    world.note("heal")
    for drive in world.disk.drives():
        drive.set_right()
    world.hasten()
    world.is_healed = True
    world.network.taps.clear()
    for way in list(world.network.shut):
        while way in world.network.shut:
            world.network.open_direction(*way)
    for end in [end for end in world.network.ends.values() if end.is_tampered_with]:
        # No real connection outlives a message that it lost: its two ends would wait for each other and never know.
        world.network.cut(end)
    for relay in world.relays:
        was_forked = relay.twin is not None
        relay.unfork()
        relay.set_quota(SPACE_BYTES_MAX)
        if relay.server is None:
            relay.boot()
        relay.verify()
        if was_forked:
            world.ledger.relay_lost()
    newest = len(world.versions) - 1
    for device in world.here():
        device.clock.set_right()
        device.is_to_stay_down = False
        # Whoever runs and lacks nothing is left alone: a conversation that is stuck must come free by itself.
        is_as_it_should_be = (
            device.version == newest and device.urls == world.urls_of(device) and device.is_to_go_on_syncing
        )
        if device.is_up and not is_as_it_should_be:
            device.crash()
        device.version = newest
        world.start(device)
    for device in world.here():
        replace_if_stuck(device)
    for process in [process for device in world.up() for process in device.processes]:
        process.host.resume()
        process.host.steps_left = None
    world.check()
