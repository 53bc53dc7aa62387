"""Devices and a relay back to back, through links made of lists. Whoever drives it decides what happens next.

Nothing here waits: a timer is a flag that the test may fire, a frame arrives when the test lets it.
"""

from collections import deque
from dataclasses import dataclass, field

from driftlog._crypto.verify import is_signed
from driftlog._protocol import device_values as dv
from driftlog._protocol import relay_session as rs
from driftlog._protocol.device import Session, step
from driftlog._protocol.device_values import Phase
from driftlog._protocol.messages import Farewell, Goodbye
from tests.protocol.fakes import FakeRelayStore, FakeReplica

URL = "ws://relay"


@dataclass
class Link:
    """One connection: both directions, and the relay's end of it."""

    session: rs.RelaySession
    to_device: deque[bytes] = field(default_factory=deque)
    to_relay: deque[bytes] = field(default_factory=deque)
    sent_envelope_bytes: int = 0


class Device:
    def __init__(self, number: int) -> None:
        self.replica = FakeReplica(number)
        self.session = Session(seed=number)
        self.inputs: deque[dv.Input] = deque([dv.Start()])
        self.jobs: deque[dv.Job] = deque()
        self.link: Link | None = None
        self.is_timer_set = False
        self.sent: list[bytes] = []

    @property
    def phase(self) -> Phase:
        return self.session.shown.phase


class World:
    """Any number of devices of one space, and one relay."""

    def __init__(self, count: int) -> None:
        self.store = FakeRelayStore()
        self.devices = [Device(number) for number in range(count)]
        self.is_relay_up = True
        self.load_bytes_max = 2_000

    # --- one action each; every one tells whether there was anything to do ------------------------------------------

    def take_input(self, device: Device) -> bool:
        if not device.inputs:
            return False
        device.session, effects = step(device.session, device.inputs.popleft())
        for effect in effects:
            self._perform(device, effect)
        return True

    def do_job(self, device: Device) -> bool:
        if not device.jobs:
            return False
        job, replica = device.jobs.popleft(), device.replica
        match job:
            case dv.LoadGreeting(connection):
                device.inputs.append(dv.Greeted(connection, replica.greeting(URL)))
            case dv.SignHello(connection, message):
                device.inputs.append(dv.Signed(connection, replica.sign_hello(message)))
            case dv.LoadKnownHeads(connection, relay):
                device.inputs.append(dv.Known(connection, replica.known_heads(relay)))
            case dv.Apply(connection, birthday, envelopes, cursor):
                device.inputs.append(dv.Applied(connection, replica.apply(URL, birthday, envelopes, cursor)))
            case dv.LoadOutgoing(connection, relay_has, skipped, bytes_max):
                found = replica.outgoing(relay_has, skipped, min(bytes_max, self.load_bytes_max))
                device.inputs.append(dv.Outgoing(connection, tuple(found)))
            case dv.Confirm(_, birthday, head, is_all):
                replica.confirm(URL, birthday, head, is_all=is_all)
            case dv.LookAround():
                replica.look_around()
            case dv.Report(state):
                replica.report(URL, state)
        return True

    def deliver_to_device(self, device: Device) -> bool:
        if device.link is None or not device.link.to_device:
            return False
        device.inputs.append(dv.FrameReceived(device.link.to_device.popleft()))
        return True

    def deliver_to_relay(self, device: Device) -> bool:
        if device.link is None or not device.link.to_relay:
            return False
        self._relay_step(device, rs.FrameReceived(device.link.to_relay.popleft()))
        return True

    def fire_timer(self, device: Device) -> bool:
        if not device.is_timer_set:
            return False
        device.is_timer_set = False
        device.inputs.append(dv.TimerFired())
        return True

    def cut(self, device: Device) -> bool:
        if device.link is None:
            return False
        device.link = None
        device.inputs.append(dv.Disconnected("cut"))
        return True

    def append(self, device: Device) -> bool:
        device.replica.append()
        device.inputs.append(dv.LocalChange(device.replica.change_count()))
        return True

    def restart_relay(self) -> None:
        for device in self.devices:
            self.cut(device)

    # --- many actions ---------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Let everything happen that needs no timer."""
        actions = (self.take_input, self.do_job, self.deliver_to_relay, self.deliver_to_device)
        for _ in range(100_000):
            if not any(action(device) for device in self.devices for action in actions):
                return
        raise AssertionError("the devices and the relay never come to rest")

    def settle(self, rounds: int = 30) -> None:
        """Let everything happen, timers included, until every device says that it is synced."""
        for _ in range(rounds):
            self.run()
            if all(device.phase is Phase.SYNCED for device in self.devices):
                return
            for device in self.devices:
                self.fire_timer(device)
        raise AssertionError(f"not synced: {[device.session.shown for device in self.devices]}")

    # --- effects --------------------------------------------------------------------------------------------------

    def _perform(self, device: Device, effect: dv.Effect) -> None:
        match effect:
            case dv.Connect() if self.is_relay_up:
                session, effects = rs.begin(self.store.birthday, bytes(32))
                device.link = Link(session)
                device.inputs.append(dv.Connected())
                self._relay_perform(device, effects)
            case dv.Connect():
                device.inputs.append(dv.Disconnected("nothing answers"))
            case dv.Send(data):
                device.sent.append(data)
                if device.link is not None:
                    device.link.to_relay.append(data)
            case dv.Close():
                if not self.cut(device):
                    assert any(isinstance(waiting, dv.Disconnected) for waiting in device.inputs)
            case dv.SetTimer():
                device.is_timer_set = True
            case _:
                device.jobs.append(effect)

    def _relay_step(self, device: Device, event: rs.Input) -> None:
        assert device.link is not None
        device.link.session, effects = rs.step(device.link.session, event, is_signed)
        self._relay_perform(device, effects)

    def _relay_perform(self, device: Device, effects: tuple[rs.Effect, ...]) -> None:
        for effect in effects:
            if device.link is None:
                return
            match effect:
                case rs.Send(data):
                    device.link.to_device.append(data)
                    device.link.sent_envelope_bytes += len(data) if data[0] == 5 else 0
                case rs.Admit(genesis):
                    self._relay_step(device, self.store.admit(genesis.space))
                case rs.Store() if self.store.is_failing:
                    device.link.to_device.append(Goodbye(Farewell.UNAVAILABLE, "the disk failed").encode())
                    self.cut_after_delivery(device)
                case rs.Store(envelopes):
                    before = len(self.store.entries)
                    self._relay_step(device, rs.Outcomes(tuple(self.store.store(raw) for raw in envelopes)))
                    if len(self.store.entries) > before:
                        for other in self.devices:
                            if other.link is not None and isinstance(other.link.session.state, rs.Live):
                                self._relay_step(other, rs.Woken())
                case rs.Prove(heads):
                    self._relay_step(device, self.store.prove(heads))
                case rs.ReadPage():
                    self._relay_step(device, self.store.page(effect))
                case rs.Close():
                    self.cut_after_delivery(device)

    def cut_after_delivery(self, device: Device) -> None:
        while self.deliver_to_device(device):
            pass
        self.cut(device)
