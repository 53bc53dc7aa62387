"""The demo's plot: apart, together, killed, joined, and in the end alike. Every claim it makes is checked.

It knows what happens when, and nothing of how it is shown.
"""

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Protocol

from driftlog.cli.demonstration import messages as m
from driftlog.cli.demonstration import plan
from driftlog.cli.demonstration.process import DemoFailed, Device, Process
from driftlog.cli.demonstration.result import DeviceResult, Result

PAUSE_MS_MAX: Final = 5.0
WRITING_MS_GOAL: Final = 2_000
"""However many events there are, a chapter of writing takes about so long, unless the disk takes longer."""

SETTLE_SECONDS_MAX: Final = 30


class Show(Protocol):
    """Who watches."""

    def watch(self, device: Device) -> None:
        """There is one more device to look at."""
        ...

    def chapter(self, title: str) -> None:
        """Something begins."""
        ...

    def note(self, text: str) -> None:
        """Something has happened."""
        ...


class Story:
    """One run."""

    def __init__(self, directory: Path, show: Show, *, seed: int, events: int) -> None:
        self._directory = directory
        self._show = show
        self._events = events
        self._result = Result(seed)
        self._stack = ExitStack()
        self._devices: list[Device] = []
        self._url = ""
        self._link = ""

    def run(self) -> Result:
        """Play it, and end every process whatever happens."""
        begun = time.monotonic()
        with self._stack:
            self._begin()
            self._apart()
            self._together()
            self._killed()
            self._last()
        self._result.seconds = time.monotonic() - begun
        return self._result

    # --- chapters ----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._show.chapter("A relay and three devices, each a process with a database of its own")
        relay = Process("relay", "driftlog.cli.demonstration.relay_worker", self._directory)
        self._stack.callback(relay.end)
        relay.start(str(self._directory / "relay.db"))
        ada = self._add("Ada")
        self._url = relay.take(m.Opened).where
        self._link = ada.take(m.Opened).where
        for name in ("Ben", "Cleo"):
            self._add(name)
        for device in self._devices[1:]:
            device.take(m.Opened)
        pids = ", ".join(f"{device.name} {device.pid}" for device in self._devices)
        self._show.note(f"processes: relay {relay.pid}, {pids}")
        self._write([ada], [plan.opening()])
        self._go_online(self._devices)
        self._settled()

    def _apart(self) -> None:
        self._show.chapter("Offline: all three go on booking and renaming the same rooms")
        for device in self._devices:
            device.ask(m.GoOffline())
        for device in self._devices:
            device.take(m.Done)
        _, ben, cleo = self._devices
        self._write([ben], [plan.contested("Ben")])
        self._write([cleo], [plan.contested("Cleo")])
        self._show.note(f"Ben books {plan.CONTESTED_ROOM}, {plan.CONTESTED_HOUR}; then Cleo does, who cannot know")
        self._write(self._devices, [self._busy(device, self._events, "apart") for device in self._devices])
        refused = sum(device.refused for device in self._devices)
        self._show.note(f"{refused} bookings were refused at once, where the hour was taken on the device itself")

    def _together(self) -> None:
        self._show.chapter("Online: what is missing travels, and takes its place in the order")
        self._go_online(self._devices)
        told = self._settled()
        ben, cleo = self._devices[1].acknowledged[0], self._devices[2].acknowledged[0]
        reasons = [answer.rejections.get(cleo) for answer in told]
        is_ben_rejected = any(ben in answer.rejections for answer in told)
        self._result.check(
            "of two bookings of one hour, the later is rejected everywhere, with one reason",
            is_kept=None not in reasons and len(set(reasons)) == 1 and not is_ben_rejected,
            found=f"Cleo's booking: {reasons[0] or 'not rejected'}",
        )
        self._show.note(f"Cleo's booking is rejected on all devices: {reasons[0]}")
        counts = {len(answer.rejections) for answer in told}
        self._show.note(f"{min(counts)} bookings in all lost their hour to an earlier one")

    def _killed(self) -> None:
        self._show.chapter("Ben is killed (SIGKILL) in the middle of writing and syncing")
        ada, ben, _ = self._devices
        wanted = len(ben.acknowledged) + max(1, self._events // 4)
        ada.ask(self._writing(self._busy(ada, max(2, self._events // 4), "late")))
        ben.ask(self._writing(self._busy(ben, max(8, self._events), "late")))
        ben.wait_acknowledged(wanted)
        code = ben.kill()
        self._show.note(f"Ben's process ended with code {code}; it had acknowledged {len(ben.acknowledged)} events")
        ada.take(m.Done)
        ben.open()
        ben.take(m.Opened)
        ben.ask(m.Tell(tuple(ben.acknowledged)))
        told = ben.take(m.Told)
        more = told.own - len(ben.acknowledged)
        self._result.check(
            "a device that is killed has every event that it had acknowledged",
            is_kept=not told.missing and more >= 0,
            found=f"{len(ben.acknowledged)} acknowledged, {len(told.missing)} missing, {more} more on the disk",
        )
        self._show.note(f"started again as process {ben.pid}: {self._result.checks[-1].found}")
        self._go_online([ben])
        self._settled()

    def _last(self) -> None:
        self._show.chapter("A fourth device joins with a link, and knows nothing yet")
        dora = self._add("Dora")
        dora.take(m.Opened)
        self._go_online([dora])
        told = self._settled()
        for device in self._devices:
            device.ask(m.Quit())
        for device in self._devices:
            device.end()
        self._result.devices = [DeviceResult(d.name, t, d.total()) for d, t in zip(self._devices, told, strict=True)]
        digests = {answer.digest for answer in told}
        self._result.check(
            "all devices have the same tables",
            is_kept=len(digests) == 1 and len(told) == 4,
            found=f"digest {told[0].digest[:16]} on {sum(t.digest == told[0].digest for t in told)} of {len(told)}",
        )
        self._result.check(
            "all devices have the same log, and the same events rejected for the same reasons",
            is_kept=len({t.events for t in told}) == 1 and all(t.rejections == told[0].rejections for t in told),
            found=f"{told[0].events} events, {len(told[0].rejections)} rejected",
        )

    # --- what chapters are made of -----------------------------------------------------------------------------------

    def _add(self, name: str) -> Device:
        device = Device(name, self._directory)
        self._stack.callback(device.end)
        device.open(self._link)
        self._devices.append(device)
        self._show.watch(device)
        return device

    def _busy(self, device: Device, count: int, part: str) -> tuple[plan.Planned, ...]:
        return plan.busy(device.name, self._result.seed, count, part)

    def _writing(self, planned: tuple[plan.Planned, ...]) -> m.Write:
        return m.Write(planned, min(PAUSE_MS_MAX, WRITING_MS_GOAL / len(planned)))

    def _write(self, devices: Sequence[Device], planned: Sequence[tuple[plan.Planned, ...]]) -> None:
        for device, events in zip(devices, planned, strict=True):
            device.ask(self._writing(events))
        for device in devices:
            device.take(m.Done)

    def _go_online(self, devices: Iterable[Device]) -> None:
        for device in devices:
            device.ask(m.GoOnline(self._url))
            device.take(m.Done)

    def _settled(self) -> list[m.Told]:
        """Wait until all devices hold the same envelopes, and give what they hold."""
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        while time.monotonic() < deadline:
            for device in self._devices:
                device.ask(m.Settle(SETTLE_SECONDS_MAX))
            answers = [device.take(m.Done) for device in self._devices]
            if all(answer.is_settled for answer in answers):
                for device in self._devices:
                    device.ask(m.Tell(()))
                told = [device.take(m.Told) for device in self._devices]
                # One may have been done before another had uploaded; then it has heard of it by the next look.
                if len({answer.vector for answer in told}) == 1:
                    return told
        raise DemoFailed(f"the devices do not hold the same envelopes after {SETTLE_SECONDS_MAX} s; try again")
