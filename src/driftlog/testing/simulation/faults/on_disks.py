"""Faults of disks: power is cut in the middle of a write, they are full, fail, lie, and rot."""

import random
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final

import apsw

from driftlog.testing.disk import Fault, OneFault, Room
from driftlog.testing.disk.faults import Kind
from driftlog.testing.simulation.device import Device
from driftlog.testing.simulation.drive import Drive
from driftlog.testing.simulation.faults.registry import fault, fault_of_drives
from driftlog.testing.simulation.files import Image
from driftlog.testing.simulation.mending import mend
from driftlog.testing.simulation.relay import RelayHost
from driftlog.testing.simulation.world import World

CHANGES_MAX: Final = 30
"""Writes, syncs and the like until something happens; an append makes some five."""
_FAILING: Final[tuple[tuple[Kind, ...], ...]] = (("sync",), ("write",), ("read", "size"), ())
ROT_AT_REST: Final = 0.75


def _device(world: World, rng: random.Random) -> tuple[Device, Drive] | None:
    found = [(device, device.drive) for device in world.up() if device.drive is not None]
    return rng.choice(found) if found else None


def _relay(world: World) -> tuple[RelayHost, Drive] | None:
    found = [(relay, relay.drive) for relay in world.relays if relay.server is not None and relay.drive is not None]
    return found[0] if found else None


@fault_of_drives
def the_power_of_a_device_is_cut(world: World, rng: random.Random) -> None:
    """Before any change to its files, or while it rests. What was not synced is kept, lost, torn, out of order."""
    found = _device(world, rng)
    if found is not None:
        _cut_power(world, rng, *found, "the power of a device is cut")


@fault_of_drives
def a_disk_lies_before_the_power_is_cut(world: World, rng: random.Random) -> None:
    """What it says to have synced may be lost with the rest."""
    found = _device(world, rng)
    if found is not None:
        found[1].lie()
        _cut_power(world, rng, *found, "a disk lies before the power is cut")


def _cut_power(world: World, rng: random.Random, device: Device, drive: Drive, name: str) -> None:
    seed = rng.getrandbits(32)

    def cut() -> None:
        world.count(name, device.name)
        drive.cut_power(seed)
        device.doom()

    if rng.random() < 0.75:
        drive.end_at(rng.randint(0, CHANGES_MAX), cut)
        return

    def cut_at_rest() -> None:
        if device.is_up:
            cut()
            device.crash()
            world.later(rng.choice((0, 1_000, 20_000)), lambda: world.start(device))

    world.later(rng.choice((0, 10, 1_000)), cut_at_rest)


@fault_of_drives
def a_device_dies_while_it_writes(world: World, rng: random.Random) -> None:
    """Power stays: what was not synced is in the machine's memory, and who starts again reads it there."""
    found = _device(world, rng)
    if found is not None:
        device, drive = found

        def die() -> None:
            world.count("a device dies while it writes", device.name)
            drive.stop()
            device.doom()

        drive.end_at(rng.randint(0, CHANGES_MAX), die)


@fault_of_drives
def the_disk_of_a_device_is_full(world: World, rng: random.Random) -> None:
    found = _device(world, rng)
    if found is not None:
        full(world, rng, found[1], "the disk of a device is full")


@fault_of_drives
def the_disk_of_a_device_fails_once(world: World, rng: random.Random) -> None:
    found = _device(world, rng)
    if found is not None:
        fails_once(world, rng, found[1], "the disk of a device fails once")


@fault_of_drives
def the_power_of_a_relay_is_cut(world: World, rng: random.Random) -> None:
    found = _relay(world)
    if found is not None:
        relay, drive = found
        seed = rng.getrandbits(32)

        def cut() -> None:
            world.count("the power of a relay is cut", relay.name)
            drive.cut_power(seed)
            relay.doom()

        drive.end_at(rng.randint(0, CHANGES_MAX // 3), cut)


@fault_of_drives
def the_disk_of_a_relay_is_full(world: World, rng: random.Random) -> None:
    found = _relay(world)
    if found is not None:
        full(world, rng, found[1], "the disk of a relay is full")


@fault_of_drives
def the_disk_of_a_relay_fails_once(world: World, rng: random.Random) -> None:
    found = _relay(world)
    if found is not None:
        fails_once(world, rng, found[1], "the disk of a relay fails once")


@fault
def bits_rot_in_a_file(world: World, rng: random.Random) -> None:
    """While nobody has it open; whoever does next is told to verify it."""
    up = world.up()
    if not up:
        return
    device = rng.choice(up)
    device.crash()
    if not device.is_lost:
        world.count("bits rot in a file", device.name)
        before = device.events()
        if rng.random() < ROT_AT_REST:
            _move_wal(world, device.name)
        world.disk.put(device.name, _rotten(world.disk.take(device.name), rng))
        mend(device, before)
        world.later(rng.choice((0, 1_000, 20_000)), lambda: world.start(device))


@fault
def bits_rot_in_the_file_of_a_relay(world: World, rng: random.Random) -> None:
    """While nobody has it open, or under the relay that runs. What it then hands out must be true, or it must say so."""
    up = [relay for relay in world.relays if relay.server is not None]
    if not up:
        return
    relay = rng.choice(up)
    is_at_rest = rng.random() < 0.5
    if is_at_rest:
        relay.crash()
    relay.rot()
    world.count("bits rot in the file of a relay", f"{relay.name} {'at rest' if is_at_rest else 'while it runs'}")
    if is_at_rest:
        if rng.random() < ROT_AT_REST:
            with suppress(apsw.Error):  # it may be beyond that from before
                _move_wal(world, relay.name)
        world.disk.put(relay.name, _rotten(world.disk.take(relay.name), rng, bits=(1, 5, 20)))
        world.later(rng.choice((0, 1_000, 20_000)), lambda: world.start_relay(relay))
    else:
        world.disk.overwrite(relay.name, _rotten(world.disk.take(relay.name), rng, bits=(1, 5, 20)))
    world.traffic.check_handed_out(relay, relay.handed_out())


def _move_wal(world: World, name: str) -> None:
    with closing(apsw.Connection(str(world.disk.path(name)), vfs=world.disk.vfs(name) or None)) as connection:
        connection.pragma("user_version")  # the WAL is read, and on closing moved into the database


def _rotten(image: Image, rng: random.Random, *, bits: tuple[int, ...] = (1, 1, 2, 5)) -> Image:
    ends = [end for end in ("", "-wal") if image.content.get(end)]
    end = rng.choices(ends, [len(image.content[end]) for end in ends])[0]
    data = bytearray(image.content[end])
    for _ in range(rng.choice(bits)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return Image({**image.content, end: bytes(data)})


def full(world: World, rng: random.Random, drive: Drive, name: str, *, rooms: tuple[int, ...] = (0, 0, 4_000)) -> None:
    """Let a drive be full for a while, once so many bytes have been written."""
    if drive.trouble is None:
        drive.trouble = trouble = _counted(Room(rng.choice(rooms)), lambda: world.count(name))
        world.later(rng.choice((5_000, 20_000, 90_000)), lambda: _end(drive, trouble))


def fails_once(world: World, rng: random.Random, drive: Drive, name: str) -> None:
    """Let one of the next operations of a drive fail."""
    if drive.trouble is None:

        def failed() -> None:
            world.count(name)
            drive.trouble = None

        drive.trouble = trouble = _counted(OneFault(rng.randint(1, 12), *rng.choice(_FAILING)), failed)
        world.later(20_000, lambda: _end(drive, trouble))


def _end(drive: Drive, trouble: Fault) -> None:
    if drive.trouble is trouble:
        drive.trouble = None


def _counted(trouble: Fault, once: Callable[[], None]) -> Fault:
    """Call `once` when it first raises."""
    left = [once]

    def ask(kind: Kind, file: str, size: int, /) -> None:
        try:
            trouble(kind, file, size)
        except apsw.Error:
            if left:
                left.pop()()
            raise

    return ask
