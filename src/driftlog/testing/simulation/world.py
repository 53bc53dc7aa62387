"""Everything of one run: the loop, the network, the disk, devices and relays, and what happened so far."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from driftlog._core.ids import SpaceId
from driftlog._core.steps import Opened
from driftlog.space.exchange import Exchange
from driftlog.testing.simulation.device import Device
from driftlog.testing.simulation.files import Disk
from driftlog.testing.simulation.ledger import Ledger
from driftlog.testing.simulation.loop import Host, VirtualLoop
from driftlog.testing.simulation.network import Network
from driftlog.testing.simulation.relay import RelayHost
from driftlog.testing.simulation.trace import Trace
from driftlog.testing.simulation.traffic import Traffic
from driftlog.testing.simulation.versions import Version

BEGIN_MS = 1_800_000_000_000
"""January 2027."""


class World:
    """A fleet of devices of one space, and its relays. Newest version of the app last."""

    def __init__(
        self,
        seed: int,
        versions: Sequence[Version],
        disk: Disk,
        *,
        devices: int,
        relays: int,
        has_drives: bool = False,
    ) -> None:
        self.seed = seed
        self.versions = versions
        self.disk = disk
        self.has_drives = has_drives
        self.trace = Trace()
        self.counts: Counter[str] = Counter()
        """How often each kind of fault has fired, by its name."""
        self.draws = self.random("draws")
        self.loop = VirtualLoop(self.random("turns"), self.trace, BEGIN_MS)  # type: ignore[abstract]  # sockets and signals are not simulated
        self.loop.on_killed = self.killed
        self.outside = Host(self.loop, "outside")
        """What happens to the world happens here, and not in one of its processes."""
        self.network = Network(self.loop, self.random("latencies"))
        self.ledger = Ledger(self)
        self.traffic = Traffic(self)
        self.network.watch = self.traffic.carried
        self.device_by_host: dict[Host, Device] = {}
        self.is_honest = True
        """No message was altered and no relay lied so far: what a relay said, it said."""
        self.is_healed = False
        self._number = 0
        self._later: dict[int, Callable[[], object]] = {}
        self.relays: list[RelayHost] = []
        for number in range(relays):
            self.relays.append(RelayHost(self, f"relay{number}"))
        for relay in self.relays:
            relay.boot()
        self.devices: list[Device] = []
        first = self.new_device(self.draws.randrange(len(versions)))
        first.found()
        self.space = SpaceId(first.space.space_id)
        self.link = first.space.invite()
        self.exchange: Exchange = first.space._engine.exchange
        self._opened: dict[bytes, list[Opened]] = {}
        for _ in range(devices - 1):
            self.add_device()

    # --- devices and relays --------------------------------------------------------------------------------------------

    def add_device(self) -> Device:
        """Let a new device join, with the newest app once everything is healed."""
        count = len(self.versions)
        device = self.new_device(count - 1 if self.is_healed else self.draws.randrange(count))
        device.join()
        return device

    def new_device(self, version: int, *, is_on_drive: bool = False) -> Device:
        """Make a device that has no file yet; where there are drives, every second is on one in any case."""
        number = len(self.devices)
        is_on_drive |= self.has_drives and number % 2 == 0
        device = Device(self, "abcdefghijklmnopqrstuvwxyz"[number], version, is_on_drive=is_on_drive)
        self.devices.append(device)
        return device

    def urls_of(self, device: Device) -> list[str]:
        """Say which relays a device syncs with: some with all, others with one until everything is healed."""
        number = self.devices.index(device)
        if self.is_healed or number % 2 == 0:
            return [relay.url for relay in self.relays]
        return [self.relays[number // 2 % len(self.relays)].url]

    def here(self) -> list[Device]:
        """Give the devices that are not lost."""
        return [device for device in self.devices if not device.is_lost]

    def up(self) -> list[Device]:
        """Give the devices that run."""
        return [device for device in self.devices if device.is_up]

    def killed(self, host: Host) -> None:
        """A process has died in the middle of what it did; its device starts again a little later."""
        host.is_doomed = False
        device = self.device_by_host.get(host)
        if device is not None and device.is_up:
            self.note(f"{device.name} dies")
            device.crash()
            self.later(self.draws.randint(0, 3000), lambda: self.start(device))
            return
        dead = next((relay for relay in self.relays if relay.server is not None and relay.server.host is host), None)
        if dead is not None:
            self.note(f"{dead.name} dies")
            dead.crash()
            self.later(self.draws.randint(0, 3000), lambda: self.start_relay(dead))

    def start(self, device: Device) -> None:
        """Start a device unless it runs, is lost, or is meant to be away."""
        if not device.is_up and not device.is_lost and not device.is_to_stay_down:
            device.boot()

    def start_relay(self, relay: RelayHost) -> None:
        """Start a relay unless it runs."""
        if relay.server is None:
            relay.boot()

    def opened(self, envelopes: Iterable[bytes]) -> list[Opened]:
        """Open what can be opened, as any member can, and pass over the rest; each once, however often it is asked for."""
        found: list[Opened] = []
        for raw in envelopes:
            if raw not in self._opened:
                self._opened[raw] = self.exchange.open_all([raw])
            found += self._opened[raw]
        return found

    # --- time ------------------------------------------------------------------------------------------------------------

    def later(self, delay_ms: int, callback: Callable[[], object]) -> None:
        """Do something to the world after a while, or when everything is healed if that comes first."""
        number = self.next_number()
        self._later[number] = callback

        def due() -> None:
            found = self._later.pop(number, None)
            if found is not None:
                found()

        self.loop.at(self.loop.now_ms + delay_ms, self.outside, due)

    def hasten(self) -> None:
        """Do now what was to be done later."""
        while self._later:
            number = next(iter(self._later))
            self._later.pop(number)()

    def run_until(self, time_ms: int) -> None:
        """Let everything happen up to a time."""
        self.loop.run_until(time_ms)
        for relay in self.relays:
            relay.look()
        self.check()

    def check(self) -> None:
        """Raise what nobody has caught."""
        if self.loop.failures:
            raise self.loop.failures[0]

    # --- chance and trace --------------------------------------------------------------------------------------------------

    def random(self, purpose: str) -> random.Random:
        """Give a stream of its own, so that what draws more often changes nothing for the others."""
        return random.Random(f"{self.seed} {purpose}")  # noqa: S311 - to be repeated is what it is for

    def next_number(self) -> int:
        """Count."""
        self._number += 1
        return self._number

    def note(self, line: str) -> None:
        """Note what happens."""
        self.trace.note(self.loop.now_ms, line)

    def count(self, fault: str, detail: str = "") -> None:
        """Note that a fault has fired."""
        self.counts[fault] += 1
        self.note(f"! {fault} {detail}".rstrip())

    def close(self) -> None:
        """End all processes, and the world with them."""
        for device in self.devices:
            device.end()
        for relay in self.relays:
            relay.end()
