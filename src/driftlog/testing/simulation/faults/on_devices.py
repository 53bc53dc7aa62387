"""Faults of devices: they die, stand still, are lost, copied or set back, and their clocks are wrong."""

import random

from driftlog.testing.simulation.device import Device
from driftlog.testing.simulation.faults.registry import fault, fault_of_versions
from driftlog.testing.simulation.world import World

DEVICES_MAX = 7
DAY_MS = 24 * 3_600_000
YEAR_MS = 365 * DAY_MS


def _one_up(world: World, rng: random.Random) -> Device | None:
    up = world.up()
    return rng.choice(up) if up else None


@fault
def a_device_dies(world: World, rng: random.Random) -> None:
    """Between two steps of its event loop or its worker, whichever they are."""
    device = _one_up(world, rng)
    if device is not None:
        world.count("a device dies", device.name)
        rng.choice(device.processes).host.steps_left = rng.randint(0, 40)


@fault
def a_device_dies_within_a_transaction(world: World, rng: random.Random) -> None:
    """Where it looks at its clock."""
    device = _one_up(world, rng)
    if device is not None:
        world.count("a device dies within a transaction", device.name)
        device.clock.looks_left = rng.randint(0, 5)


@fault
def a_process_stands_still(world: World, rng: random.Random) -> None:
    device = _one_up(world, rng)
    if device is not None:
        host = rng.choice(device.processes).host
        if host.is_paused:
            return
        world.count("a process stands still", host.name)
        host.pause()
        world.later(rng.choice((100, 10_000, 70_000)), host.resume)


@fault
def a_second_process_opens_the_file(world: World, rng: random.Random) -> None:
    device = _one_up(world, rng)
    if device is not None and len(device.processes) == 1:
        world.count("a second process opens the file", device.name)
        device.boot_second()


@fault
def a_device_is_restarted(world: World, rng: random.Random) -> None:
    """In order: it is asked to end, and ends when it has."""
    device = _one_up(world, rng)
    if device is not None:
        world.count("a device is restarted", device.name)
        device.stop()
        world.later(rng.randint(100, 5_000), lambda: world.start(device))


@fault
def a_device_is_away_for_months(world: World, rng: random.Random) -> None:
    """Its file is not open, while the others go on in a time that passes in one jump."""
    device = _one_up(world, rng)
    if device is not None:
        world.count("a device is away for months", device.name)
        device.crash()
        device.is_to_stay_down = True
        world.loop.warp(rng.randint(30, 200) * DAY_MS)

        def come_back() -> None:
            device.is_to_stay_down = False
            world.start(device)

        world.later(rng.choice((1_000, 20_000, 10_000_000)), come_back)


@fault
def all_sleep_for_days(world: World, rng: random.Random) -> None:
    """Time jumps for everybody; what was on its way arrives days late."""
    world.count("all sleep for days")
    world.loop.warp(rng.randint(1, 10) * DAY_MS)


@fault
def a_device_is_set_back(world: World, rng: random.Random) -> None:
    """Its file is replaced by an older copy of itself, as a backup is restored."""
    device = _one_up(world, rng)
    if device is None:
        return
    image, then = world.disk.take(device.name), device.events()
    key = device.space.device

    def set_back() -> None:
        if device.is_lost:
            return
        world.count("a device is set back", device.name)
        world.ledger.losing(device, then)
        world.ledger.may_fork.add(key)
        device.put(image)
        world.start(device)

    world.later(rng.choice((500, 3_000, 10_000)), set_back)


@fault
def a_device_is_copied(world: World, rng: random.Random) -> None:
    """File and key; both go on."""
    device = _one_up(world, rng)
    if device is None or len(world.devices) >= DEVICES_MAX:
        return
    world.count("a device is copied", device.name)
    world.ledger.may_fork.add(device.space.device)
    twin = world.new_device(device.version)
    twin.is_member = True
    world.disk.put(twin.name, world.disk.take(device.name))
    twin.boot()


@fault
def a_device_is_lost(world: World, rng: random.Random) -> None:
    device = _one_up(world, rng)
    if device is not None and len(world.here()) > 2:
        world.count("a device is lost", device.name)
        world.ledger.losing(device, set())
        device.lose()


@fault
def a_new_device_joins(world: World, _: random.Random) -> None:
    if len(world.devices) < DEVICES_MAX:
        world.count("a new device joins")
        world.add_device()


@fault
def a_clock_is_off_by_years(world: World, rng: random.Random) -> None:
    _jump(world, rng, rng.choice((-10, -1, 1, 10)) * YEAR_MS, "a clock is off by years")


@fault
def a_clock_jumps(world: World, rng: random.Random) -> None:
    _jump(world, rng, rng.choice((-DAY_MS, -60_000, -1, 60_000, DAY_MS, 2 * DAY_MS)), "a clock jumps")


def _jump(world: World, rng: random.Random, delta_ms: int, name: str) -> None:
    device = _one_up(world, rng)
    if device is not None:
        world.count(name, f"{device.name} {delta_ms:+}")
        device.clock.shift(delta_ms)


@fault
def a_clock_stands_still(world: World, rng: random.Random) -> None:
    device = _one_up(world, rng)
    if device is not None:
        world.count("a clock stands still", device.name)
        device.clock.stick()
        world.later(rng.choice((1_000, 30_000)), device.clock.set_right)


@fault_of_versions
def a_device_gets_another_version_of_the_app(world: World, rng: random.Random) -> None:
    """A newer one or an older one."""
    device = _one_up(world, rng)
    if device is not None:
        world.count("a device gets another version of the app", device.name)
        device.crash()
        device.version = rng.choice([at for at in range(len(world.versions)) if at != device.version])
        world.start(device)
