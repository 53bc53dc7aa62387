"""What was acknowledged to users, and what of it may be missing in the end because every file that held it is gone."""

from typing import TYPE_CHECKING

from driftlog._core.clock import Timestamp
from driftlog._core.event import place

if TYPE_CHECKING:
    from driftlog.testing.simulation.device import Device
    from driftlog.testing.simulation.relay import RelayHost
    from driftlog.testing.simulation.world import World


class Broken(AssertionError):
    """A promise was broken."""


class Ledger:
    """Notes every acknowledged event, and who still holds it whenever a file is lost."""

    def __init__(self, world: "World") -> None:
        self.acknowledged: dict[Timestamp, str] = {}
        self.excused: set[Timestamp] = set()
        """May be missing: every file that held them is gone. They may turn up all the same."""
        self.has_lost_files = False
        self._world = world
        self._at_relays: set[Timestamp] = set()
        """Held by no device, but by a relay."""

    def acknowledge(self, device: "Device", made: list[Timestamp]) -> None:
        """Note what an append returned for."""
        for at in made:
            # A copy of the device that says the same at the same moment makes the same event, and that is all right.
            if self.acknowledged.get(at) == device.name:
                raise Broken(f"{device.name} gave the timestamp {at} a second time")
            self.acknowledged[at] = device.name

    def check_kept(self, device: "Device") -> None:
        """A device that starts again has what it acknowledged, unless its file was lost meanwhile."""
        made = {at for at, name in self.acknowledged.items() if name == device.name}
        missing = made - device.events() - self.excused
        if missing:
            raise Broken(f"{device.name} was killed and has forgotten {_listed(missing)}")

    def check_confirmed(self, relay: "RelayHost", held: set[tuple[bytes, int]]) -> None:
        """What a relay acknowledged is on its disk, if its word was passed on unaltered and no file was ever lost."""
        if not self._world.is_honest or self.has_lost_files:
            return
        for device in self._world.up():
            for told in device.space.status().relays:
                number = told.confirmed_envelopes
                if told.url == relay.url and number and (device.space.device, number) not in held:
                    raise Broken(f"{relay.name} acknowledged envelope {number} of {device.name}, and did not have it")

    def losing(self, device: "Device", then: "set[Timestamp]") -> None:
        """A device's file is about to be gone, or to hold only `then`."""
        self.has_lost_files = True
        # What is in an older copy of the file is there still; what others hold comes back.
        lost = device.events() - then
        for other in self._world.devices:
            if other is not device and not other.is_lost:
                lost -= other.events()
        lost &= self.acknowledged.keys()
        at_relays = lost & self._events_at_relays()
        self._at_relays |= at_relays
        self.excused |= lost - at_relays
        # Until it syncs again it need not know what it had; in the end all must be there.
        self._away(device, then)

    def relay_lost(self) -> None:
        """A relay has lost its file, or part of it; called when it has happened."""
        self.has_lost_files = True
        if not self._at_relays:
            return
        missing = set(self._at_relays)
        for device in self._world.devices:
            if not device.is_lost:
                missing -= device.events()
        self._at_relays = missing & self._events_at_relays()
        self.excused |= missing - self._at_relays

    def missing_from(self, events: set[Timestamp]) -> set[Timestamp]:
        """Give what should be in a log and is not."""
        return self.acknowledged.keys() - events - self.excused

    def _away(self, device: "Device", then: set[Timestamp]) -> None:
        for at, name in self.acknowledged.items():
            if name == device.name and at not in then:
                self.acknowledged[at] = f"{name}, before it was set back"

    def _events_at_relays(self) -> set[Timestamp]:
        found: set[Timestamp] = set()
        exchange = self._world.exchange
        for relay in self._world.relays:
            opened, _ = exchange.open_all(relay.envelopes())
            for envelope, batch in opened:
                header = envelope.header
                found |= {place(header.space, header.device, record) for record in batch.records}
        return found


def _listed(events: set[Timestamp]) -> str:
    shown = ", ".join(map(str, sorted(events)[:5]))
    return f"{len(events)} acknowledged events: {shown}"
