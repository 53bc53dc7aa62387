"""What was acknowledged to users, and what of it may be missing in the end because every file that held it is gone."""

from typing import TYPE_CHECKING, NamedTuple

from driftlog._core.clock import Timestamp, hlc_ms
from driftlog._core.event import place
from driftlog._core.limits import HOLD_MS

if TYPE_CHECKING:
    from driftlog.testing.simulation.device import Device
    from driftlog.testing.simulation.relay import RelayHost
    from driftlog.testing.simulation.world import World


class Broken(AssertionError):
    """A promise was broken."""


class Held(NamedTuple):
    """What a device's file holds."""

    events: set[Timestamp]
    envelopes: set[bytes]
    """By their hashes."""


class Settled(NamedTuple):
    """What a device called settled at some moment."""

    name: str
    until: Timestamp
    there: set[Timestamp]
    """All it had up to there."""
    known: set[bytes]
    """The devices that it had heard of."""


class Ledger:
    """Notes every acknowledged event, and who still holds it whenever a file is lost."""

    def __init__(self, world: "World") -> None:
        self.acknowledged: dict[Timestamp, str] = {}
        self.excused: set[Timestamp] = set()
        """May be missing: every file that held them is gone. They may turn up all the same."""
        self.has_lost_files = False
        self.has_set_back = False
        """Some device has lost its file, or part of it."""
        self.may_fork: set[bytes] = set()
        """Keys that two files bear, or one that was set back, or a member that lies: these alone may bear two histories."""
        self.settled: list[Settled] = []
        self._world = world
        self._at_relays: set[Timestamp] = set()
        """Held by no device, but by a relay."""
        self._places_by_raw: dict[bytes, set[Timestamp]] = {}
        """The events of each envelope that was ever asked about, and of what is none: nothing."""

    def acknowledge(self, device: "Device", made: list[Timestamp]) -> None:
        """Note what an append returned for."""
        # Honest clocks are moved by what others write, and by no more than what is not held.
        limit_ms = max(other.clock.shown_ms_max for other in self._world.devices) + HOLD_MS
        for at in made:
            if hlc_ms(at.hlc) > limit_ms:
                raise Broken(f"{device.name} gave the timestamp {at}, a day and more ahead of every clock so far")
            # A copy of the device that says the same at the same moment makes the same event, and that is all right.
            if self.acknowledged.get(at) == device.name:
                raise Broken(f"{device.name} gave the timestamp {at} a second time")
            self.acknowledged[at] = device.name

    def check_kept(self, device: "Device") -> None:
        """A device that starts again has what it acknowledged, unless its file was lost meanwhile."""
        made = {at for at, name in self.acknowledged.items() if name == device.name}
        missing = made - device.events() - self.excused
        if missing:
            raise Broken(f"{device.name} was killed and has forgotten acknowledged events: {_listed(missing)}")

    def check_confirmed(self, relay: "RelayHost", held: set[tuple[bytes, int]]) -> None:
        """What a relay acknowledged is on its disk, if its word was passed on unaltered and no file was ever lost."""
        if not self._world.is_honest or self.has_lost_files:
            return
        for device in self._world.up():
            number = device.confirmed_by(relay.url)
            if number and (device.space.device, number) not in held:
                raise Broken(f"{relay.name} acknowledged envelope {number} of {device.name}, and did not have it")

    def losing(self, device: "Device", then: set[Timestamp], before: set[Timestamp] | None = None) -> None:
        """A device's file is about to be gone, or to hold only `then`; `before` says what it held if it is gone already."""
        self.has_lost_files = self.has_set_back = True
        self._world.traffic.device_changed(device)
        # What is in an older copy of the file is there still.
        self._excuse(device, (device.events() if before is None else before) - then)
        # Until it syncs again it need not know what it had; in the end all must be there.
        self._away(device, then)

    def power_was_cut(self, device: "Device", before: Held) -> None:
        """Power has gone under a device that held `before`; what it may have lost is what relaxed durability may."""
        self._world.traffic.device_changed(device)
        after = device.held()
        lost, envelopes = before.events - after.events, before.envelopes - after.envelopes
        others = [other for other in self._world.here() if other is not device]
        handed_on = self._events_at_relays().union(*(other.events() for other in others))
        own = {at for at in lost if at.device == device.key}
        if own & handed_on and device.key not in self.may_fork:
            raise Broken(f"{device.name} lost what it had handed on: {_listed(own & handed_on)}")
        if device.durability == "full":
            # Nothing that was acknowledged; but what a process that died had not synced yet, and another read.
            self._excuse(device, lost - own)
        else:
            self._excuse(device, lost)
            self._away(device, after.events)
            # What it called settled was in part what it has forgotten.
            self.settled = [noted for noted in self.settled if noted.name != device.name]
        # It may have been the only one that held what others wrote.
        self.has_lost_files |= not envelopes.issubset(set[bytes]().union(*(other.held().envelopes for other in others)))

    def _excuse(self, device: "Device", lost: set[Timestamp]) -> None:
        """A device no longer holds these. What others hold comes back."""
        for other in self._world.devices:
            if other is not device and not other.is_lost:
                lost -= other.events()
        lost &= self.acknowledged.keys()
        at_relays = lost & self._events_at_relays()
        self._at_relays |= at_relays
        self.excused |= lost - at_relays

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

    def note_settled(self, device: "Device") -> None:
        """Note what a device calls settled: nothing of whom it knows may take its place there any more."""
        status = device.space.status()
        if status.settled is not None:
            known: set[bytes] = {other.device for other in status.devices}
            there = device.placed_up_to(status.settled)
            self.settled.append(Settled(device.name, status.settled, there, known))

    def check_settled(self, events: set[Timestamp]) -> None:
        """What was settled stayed as it was. Says nothing where a file was set back: it speaks of what it has forgotten."""
        for noted in [] if self.has_set_back else self.settled:
            late = {at for at in events - noted.there if at <= noted.until and at.device in noted.known - self.may_fork}
            if late:
                raise Broken(f"{noted.name} called settled what {_listed(late)} came into: it was up to {noted.until}")

    def missing_from(self, events: set[Timestamp]) -> set[Timestamp]:
        """Give what should be in a log and is not."""
        return self.acknowledged.keys() - events - self.excused

    def _away(self, device: "Device", then: set[Timestamp]) -> None:
        for at, name in self.acknowledged.items():
            if name == device.name and at not in then:
                self.acknowledged[at] = f"{name}, before it was set back"

    def _events_at_relays(self) -> set[Timestamp]:
        raws = {raw for relay in self._world.relays for raw in relay.envelopes()}
        for raw in raws - self._places_by_raw.keys():
            self._places_by_raw[raw] = {
                place(envelope.header.space, envelope.header.device, record)
                for envelope, batch in self._world.opened([raw])
                for record in batch.records
            }
        return set[Timestamp]().union(*(self._places_by_raw[raw] for raw in raws))


def _listed(events: set[Timestamp]) -> str:
    shown = ", ".join(map(str, sorted(events)[:5]))
    return f"{len(events)} events: {shown}"
