"""Faults of disks while something begins: a space is founded, a device joins, a relay opens its file.

Each then ends in a `StorageError` or dies, and can be begun again until it is done.
"""

import random
from collections.abc import Callable
from typing import Final

from driftlog._sqlite.connection import Durability
from driftlog.errors import StorageError
from driftlog.testing.simulation.drive import Drive
from driftlog.testing.simulation.faults.on_devices import DEVICES_MAX
from driftlog.testing.simulation.faults.on_disks import fails_once, full
from driftlog.testing.simulation.faults.registry import fault_of_drives
from driftlog.testing.simulation.ledger import Broken
from driftlog.testing.simulation.loop import Killed
from driftlog.testing.simulation.world import World

CHANGES_MAX: Final = 12
"""Writes, syncs and the like: founding a space makes some twenty."""
ROOMS: Final = (0, 4_000, 20_000, 60_000)
"""Of bytes on a disk that is full: a new space writes more."""
TRIES: Final = 2
"""With something in the way."""


@fault_of_drives
def a_disk_is_in_the_way_of_who_joins(world: World, rng: random.Random) -> None:
    """It is full, fails, or loses power; the device tries again with the same invite."""
    if len(world.devices) < DEVICES_MAX:
        device = world.new_device(rng.randrange(len(world.versions)), is_on_drive=True)
        assert device.drive is not None
        _hinder(world, rng, device.drive, "a disk is in the way of who joins", device.doom)
        device.join()


@fault_of_drives
def a_disk_is_in_the_way_of_a_relay_that_starts(world: World, rng: random.Random) -> None:
    """On the file that it had, or on a new one."""
    found = [(relay, relay.drive) for relay in world.relays if relay.server is not None and relay.drive is not None]
    if found:
        relay, drive = rng.choice(found)
        relay.crash()
        if rng.random() < 0.3:
            relay.forget()
            world.ledger.relay_lost()
        _hinder(world, rng, drive, "a disk is in the way of a relay that starts", relay.doom)
        world.start_relay(relay)


@fault_of_drives
def a_disk_is_in_the_way_of_who_founds(world: World, rng: random.Random) -> None:
    """Another space, of which nobody else hears: it is founded in the end, and then it stays the same."""
    name = f"founder{world.next_number()}"
    app = rng.choice(world.versions).app
    is_at_work = True
    drive = world.disk.give_drive(name, lambda: is_at_work)
    durability: Durability = rng.choice(("full", "relaxed"))
    founded: bytes | None = None
    for number in range(TRIES + 2):
        drive.set_right()
        if number < TRIES:
            _hinder(world, rng, drive, "a disk is in the way of who founds", lambda: None)
        try:
            space = app.open(
                world.disk.path(name),
                durability=durability,
                clock=lambda: world.loop.now_ms,
                entropy=rng.randbytes,
                vfs=world.disk.vfs(name),
            )
        except Killed:
            drive.go_on()
        except StorageError:
            if not drive.raised:
                raise
            drive.raised = 0
        else:
            if founded not in {None, space.space_id}:
                raise Broken(f"{name} has founded a space, and opened another one")
            founded = space.space_id
            drive.cut_power(rng.getrandbits(32))
            is_at_work = False
            space.close()
            is_at_work = True
            drive.go_on()
    if founded is None:
        raise Broken(f"{name} could not found a space on a disk that is right again")


def _hinder(world: World, rng: random.Random, drive: Drive, name: str, doom: Callable[[], None]) -> None:
    """Let something be wrong with a drive soon. `doom` ends whoever uses it by then, if it has begun already."""
    seed = rng.getrandbits(32)

    def die() -> None:
        world.count(name)
        doom()
        if seed % 3:
            drive.cut_power(seed)
        else:
            drive.stop()

    match rng.randrange(4):
        case 0:
            full(world, rng, drive, name, rooms=ROOMS)
        case 1:
            fails_once(world, rng, drive, name)
        case _:
            drive.end_at(rng.randint(0, CHANGES_MAX), die)
