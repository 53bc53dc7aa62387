"""What is sent although the other end holds it, counted from the frames on the wire, and from nothing that an engine says.

Where the two have agreed, nothing is sent a second time:

- what a device has uploaded on a connection, and what it has answered for with READ, the relay does not send it;
- after a WANT, the relay sends nothing that the device held then, with all before it, and the relay when it said WELCOME;
- what the relay held at its WELCOME, or has acknowledged since, the device does not upload;
- and the relay sends nothing that was never uploaded to any relay.

An upload counts as agreed for later connections only once the device has answered for a frame that said, after the STORED,
that there is no more: only then is its cursor past it. What came up before a walk began may come down once in it: the relay
remembers what came up only until it has read past that, and a WANT proves no more than WELCOME named. What was agreed on one
connection binds no older one, of which the relay may not know yet that nobody is there.

Of a key that bears two histories, a connection in which a message was altered or repeated, and a relay with two faces or a
rotten file, nothing is said but the last; of who has lost a file, or met such a connection, nothing of what was before.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from driftlog._core.envelope import parse_envelope
from driftlog._core.wire import Malformed
from driftlog._protocol.messages import (
    Envelopes,
    Hello,
    Read,
    Refused,
    Stored,
    Upload,
    Want,
    Welcome,
    decode_from_device,
    decode_from_relay,
)
from driftlog.testing.simulation.ledger import Broken
from driftlog.testing.simulation.network import End

if TYPE_CHECKING:
    from driftlog.testing.simulation.device import Device
    from driftlog.testing.simulation.relay import RelayHost
    from driftlog.testing.simulation.world import World

_FROM_DEVICE = frozenset({Hello.TYPE, Want.TYPE, Read.TYPE, Upload.TYPE})
_FROM_RELAY = frozenset({Welcome.TYPE, Envelopes.TYPE, Stored.TYPE, Refused.TYPE})
"""The frames that matter; the others are not decoded."""


class _Link(NamedTuple):
    """An envelope."""

    hash: bytes
    device: bytes
    number: int


@dataclass(slots=True)
class _Chain:
    """What a device holds of a chain."""

    last: int = 0
    """Up to where nothing is missing."""
    hash_by_number: dict[int, bytes] = field(default_factory=dict[int, bytes])


@dataclass(frozen=True, slots=True)
class _Frame:
    """An ENVELOPES frame without its READ."""

    links: tuple[_Link, ...]
    agreed: tuple[bytes, ...]
    """Uploads that the device's cursor is past once it has answered."""


@dataclass(slots=True)
class _Line:
    """One connection of a device to a relay."""

    device: "Device"
    relay: "RelayHost"
    hello_at: int
    """When the device said how far it has read."""
    is_void: bool = False
    welcome_at: int | None = None
    wants_at: list[int] = field(default_factory=list[int])
    uploads: deque[bytes] = field(default_factory=deque[bytes])
    """Without an answer."""
    stored: dict[bytes, int] = field(default_factory=dict[bytes, int])
    walk_began_at: dict[int, int] = field(default_factory=lambda: {0: 0})
    frames: deque[_Frame] = field(default_factory=deque[_Frame])
    answered: set[bytes] = field(default_factory=set[bytes])
    is_confirmation_due: bool = True


class Traffic:
    """Watches every frame."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._lines: dict[int, _Line] = {}
        self._now = 0
        """Counts what happens."""
        self._known: dict[bytes, _Link] = {}
        """Each envelope by its bytes."""
        self._uploaded: set[bytes] = set()
        self._since_by_device: dict[str, dict[bytes, int]] = {}
        """Since when a device surely holds an envelope and all before it in its chain."""
        self._chains: dict[str, dict[bytes, _Chain]] = {}
        """By names of devices, and whose chains they are."""
        self._since_by_relay: dict[str, dict[bytes, int]] = {}
        self._agreed: dict[tuple[str, str], dict[bytes, int]] = {}
        """Since when, by the names of both ends."""

    def device_changed(self, device: "Device") -> None:
        """A device has lost its file, or part of it."""
        self._since_by_device.pop(device.name, None)
        self._chains.pop(device.name, None)
        self._forget(0, device.name)

    def relay_changed(self, relay: "RelayHost") -> None:
        """A relay has lost its file, or part of it, or shows two."""
        self._since_by_relay.pop(relay.name, None)
        self._forget(1, relay.name)

    def check_handed_out(self, relay: "RelayHost", raws: list[bytes]) -> None:
        """Hold what a relay would send of a rotten file to what was uploaded."""
        for raw in raws:
            if self._identify(raw).hash not in self._uploaded:
                raise Broken(f"{relay.name} hands out what nobody has uploaded")

    def carried(self, end: End, data: bytes) -> None:
        """See what an end sends, before it meets any fault."""
        is_from_device = end.number % 2 == 0
        if not data or data[0] not in (_FROM_DEVICE if is_from_device else _FROM_RELAY):
            return
        number = end.number if is_from_device else end.other.number
        line = self._line(end) if data[0] == Hello.TYPE else self._lines.get(number)
        if line is None or line.is_void:
            self._note_uploaded(data)
            return
        self._lines[number] = line
        self._now += 1
        if end.is_tampered_with or end.other.is_tampered_with:
            line.is_void = True
            # A frame that is repeated takes the device's cursor back.
            self._agreed.pop((line.device.name, line.relay.name), None)
            self._note_uploaded(data)
            return
        try:
            if is_from_device:
                self._from_device(line, data)
            else:
                self._from_relay(line, data)
        except Malformed as error:
            self._broken(line, f"a frame that cannot be read was sent: {error}")

    def _from_device(self, line: _Line, data: bytes) -> None:
        match decode_from_device(data):
            case Want():
                line.wants_at.append(self._now)
            case Read():
                frame = line.frames.popleft()
                for link in frame.links:
                    self._holds(line.device, link, is_whole=False)
                agreed = self._agreed.setdefault((line.device.name, line.relay.name), {})
                for hashed in (*frame.agreed, *(link.hash for link in frame.links)):
                    line.answered.add(hashed)
                    agreed.setdefault(hashed, self._now)
                self._check_confirmed(line)
            case Upload(envelopes):
                self._check_confirmed(line)
                there = self._since_by_relay.get(line.relay.name, {})
                for raw in envelopes:
                    link = self._identify(raw)
                    hashed = link.hash
                    self._uploaded.add(hashed)
                    line.uploads.append(hashed)
                    self._holds(line.device, link, is_whole=True)
                    if hashed in line.stored or there.get(hashed, self._now) <= (line.welcome_at or 0):
                        self._resent(line, raw, f"{line.device.name} uploads to {line.relay.name} what that has")
            case _:
                pass

    def _from_relay(self, line: _Line, data: bytes) -> None:
        match decode_from_relay(data):
            case Welcome():
                line.welcome_at = self._now
            case Stored(count):
                held = self._since_by_relay.setdefault(line.relay.name, {})
                for _ in range(count):
                    hashed = line.uploads.popleft()
                    line.stored[hashed] = self._now
                    held.setdefault(hashed, self._now)
            case Refused():
                line.uploads.popleft()
            case Envelopes(walk, _, is_caught_up, envelopes):
                line.walk_began_at.setdefault(walk, self._now)
                for raw in envelopes:
                    self._check_sent(line, walk, raw)
                # A rotten signature is not in the hash: what bears one is refused, and what follows it waits.
                links = () if line.relay.may_be_damaged else tuple(self._identify(raw) for raw in envelopes)
                line.frames.append(_Frame(links, tuple(line.stored) if is_caught_up else ()))
            case _:
                pass

    def _check_sent(self, line: _Line, walk: int, raw: bytes) -> None:
        hashed = self._identify(raw).hash
        if hashed not in self._uploaded:
            self._broken(line, f"{line.relay.name} hands out what nobody has uploaded")
        if line.stored.get(hashed, 0) > line.walk_began_at[walk]:
            self._resent(line, raw, f"{line.relay.name} sends {line.device.name} what that has just sent")
        elif not walk:
            # An older connection, of which the relay does not know yet that nobody is there, has not heard of it, and its
            # HELLO may be answered late.
            agreed_at = self._agreed.get((line.device.name, line.relay.name), {}).get(hashed, self._now)
            if hashed in line.answered or agreed_at <= line.hello_at:
                self._resent(line, raw, f"{line.relay.name} sends {line.device.name} what that has answered for")
        elif walk <= len(line.wants_at):
            since = self._since_by_device.get(line.device.name, {}).get(hashed)
            there = self._since_by_relay.get(line.relay.name, {}).get(hashed)
            is_known = since is not None and since <= line.wants_at[walk - 1]
            if is_known and there is not None and there <= (line.welcome_at or 0):
                self._resent(line, raw, f"{line.relay.name} sends {line.device.name} what its WANT said that it has")

    def _check_confirmed(self, line: _Line) -> None:
        """After a WELCOME, no more counts as confirmed than what the relay has, whatever another had before it."""
        if not line.is_confirmation_due or line.welcome_at is None:
            return
        line.is_confirmation_due = False
        device, relay = line.device, line.relay
        if (
            not device.is_up
            or relay.server is None
            or relay.may_be_damaged
            or device.key in self._world.ledger.may_fork
        ):
            return
        with self._world.loop.as_host(self._world.outside):
            number = device.confirmed_by(relay.url)
            held = max((seq for key, seq in relay.server.places() if key == device.key), default=0)
        if number > held:
            self._broken(line, f"{device.name} calls {number} envelopes confirmed by {relay.name}, which has {held}")

    def _note_uploaded(self, data: bytes) -> None:
        if data[0] == Upload.TYPE:
            message = decode_from_device(data)
            assert isinstance(message, Upload)
            self._uploaded.update(self._identify(raw).hash for raw in message.envelopes)

    def _holds(self, device: "Device", link: _Link, *, is_whole: bool) -> None:
        """Note that a device holds an envelope; what waits for one before it is in no version vector."""
        since = self._since_by_device.setdefault(device.name, {})
        chain = self._chains.setdefault(device.name, {}).setdefault(link.device, _Chain())
        chain.hash_by_number.setdefault(link.number, link.hash)
        if is_whole:
            since.setdefault(link.hash, self._now)
            chain.last = max(chain.last, link.number)
        while (following := chain.hash_by_number.get(chain.last + 1)) is not None:
            since.setdefault(following, self._now)
            chain.last += 1

    def _identify(self, raw: bytes) -> _Link:
        found = self._known.get(raw)
        if found is None:
            envelope = parse_envelope(raw)
            header = envelope.header
            found = self._known[raw] = _Link(envelope.hash, header.device, header.batch_seq)
        return found

    def _line(self, end: End) -> _Line | None:
        device = self._world.device_by_host.get(end.host)
        for relay in self._world.relays:
            if device is not None and relay.server is not None and relay.server.host is end.other.host:
                return _Line(device, relay, self._now, is_void=relay.twin is not None)
        return None

    def _forget(self, place: int, name: str) -> None:
        self._agreed = {pair: hashes for pair, hashes in self._agreed.items() if pair[place] != name}
        for line in self._lines.values():
            if (line.device.name, line.relay.name)[place] == name:
                line.is_void = True

    def _resent(self, line: _Line, raw: bytes, words: str) -> None:
        hashed, key, _ = self._identify(raw)
        # Who has forgotten what it had is brought it again.
        if not line.relay.may_be_damaged and key not in self._world.ledger.may_fork:
            self._broken(line, f"{words}: envelope {hashed[:4].hex()}")

    def _broken(self, line: _Line, words: str) -> None:
        line.is_void = True
        self._world.loop.failures.append(Broken(words))
