"""Devices of a simulated fleet: what a dead process leaves is what the next one finds."""

from contextlib import closing

from driftlog.testing.simulation.example import VERSIONS
from driftlog.testing.simulation.files import Disk
from driftlog.testing.simulation.world import World


def test_a_look_at_a_dead_devices_file_leaves_it_as_it_is() -> None:
    with closing(Disk()) as disk, closing(World(1, VERSIONS, disk, devices=1, relays=1)) as world, world.loop:
        [device] = world.devices
        device.work(world.draws)
        device.crash()
        left = disk.take(device.name)

        with device._file() as ask:
            assert device._local_rows(ask)

        assert left.content["-wal"]
        assert disk.take(device.name) == left
