"""A process of a simulated device: a real space on the device's file, and the shipped driver for each relay."""

import asyncio
from typing import TYPE_CHECKING

from driftlog._driver.driver import run
from driftlog._protocol.device_values import Phase, SyncState
from driftlog.space.replica import SpaceReplica
from driftlog.space.space import Space
from driftlog.testing.simulation.ledger import Broken
from driftlog.testing.simulation.loop import Host
from driftlog.testing.simulation.subscribers import Subscribers

if TYPE_CHECKING:
    from driftlog.testing.simulation.device import Device


class Process:
    """One process that has a device's file open, and syncs unless it is a second one."""

    def __init__(self, device: "Device", space: Space, name: str) -> None:
        self.space = space
        self.host = Host(device.world.loop, name)
        self.phases: dict[str, Phase] = {}
        self.is_ending = False
        """It was asked to end."""
        self._device = device
        self._stop = asyncio.Event()
        self._main: asyncio.Task[None] | None = None
        device.world.device_by_host[self.host] = device
        self.subscribers = Subscribers(device, space, self.host)

    @property
    def is_syncing(self) -> bool:
        """Whether it converses with relays, or tries to."""
        return self._main is not None and not self._main.done()

    def sync(self, urls: list[str]) -> None:
        """Begin to converse with relays."""
        self._main = self.host.run(self._converse(SpaceReplica(self.space._engine, self._report), urls))
        self._main.add_done_callback(self._ended)

    def stop(self) -> bool:
        """Ask it to end; tells whether it has ended already."""
        self.is_ending = True
        if not self.is_syncing:
            return True
        self.host.post(self._stop.set)
        return False

    async def _converse(self, replica: SpaceReplica, urls: list[str]) -> None:
        world = self._device.world
        async with asyncio.TaskGroup() as tasks:
            for url in urls:
                seed = world.draws.getrandbits(64)
                tasks.create_task(
                    run(replica, url, lambda url: world.network.connect(self.host, url), stop=self._stop, seed=seed)
                )

    def _report(self, url: str, state: SyncState) -> None:
        if self.phases.get(url) is not state.phase:
            self.phases[url] = state.phase
            detail = self._device.without_path(state.detail)
            self._device.world.note(f"{self.host.name} and {url}: {state.phase.value} {detail}")

    def _ended(self, main: "asyncio.Task[None]") -> None:
        if not main.cancelled() and main.exception() is not None:
            error = main.exception()
            assert error is not None
            self._device.world.loop.failures.append(error)
        elif not main.cancelled() and not self.is_ending:
            self._device.world.loop.failures.append(Broken(f"{self.host.name} has ended by itself"))
        self._device.process_ended(self)
