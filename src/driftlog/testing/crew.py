"""A fleet whose devices each have a clock of their own, meet when told to, and are compared when something looks wrong.

What `fleet` gives is a list of spaces; a `Crew` closes them, moves their time on, and says in which rows they differ. Each
device sees its own time and chance also where a materializer asks Python for them, so that one which does so shows other
tables on each device, and not on unlucky days only.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import shake_128
from itertools import combinations
from typing import Final, Self, overload

from driftlog._core.clock import hlc_ms
from driftlog._core.ids import DeviceKey
from driftlog._core.version_vector import VersionVector
from driftlog.errors import DriftlogError
from driftlog.space.app import App
from driftlog.space.space import Space
from driftlog.testing.differing import Named, counted, difference_of
from driftlog.testing.fleet import exchange, fleet
from driftlog.testing.peeking import FIRST, Moment, replaced
from driftlog.testing.story import DEVICES_MAX, name_of

STEP_MS: Final = 1_000
"""What passes whenever a device does something: enough that no two events of a short test have one stamp."""

CAUSES: Final = (
    "Usual causes: a materializer that looks at more than tx and its event (a global that changes, a clock, randomness, a "
    "SELECT of several rows without ORDER BY); check_determinism says which"
)


JOINED: Final = "a device that joins afterwards"


class Crew(Sequence[Space]):
    """Enrolled devices of one new space in memory: `crew[0]` is the first's `Space`. Close it when done.

    The devices exchange nothing until they `meet`. Their clocks begin together, and move on by a second with each call.
    """

    def __init__(self, app: App, devices: int) -> None:
        if not 1 <= devices <= DEVICES_MAX:
            raise ValueError(f"a fleet of {devices} devices; ask for 1 to {DEVICES_MAX}")
        self.app = app
        self._now_ms = FIRST.start_s * 1_000
        self._off_ms = [0] * devices
        self._draws = 0
        self._spaces = fleet(app, devices, clocks=[self._clock(at) for at in range(devices)], entropy=self._entropy)
        materializers = app._program().materializers.values()
        self._handlers = [materializer.handler for materializer in materializers]

    @overload
    def __getitem__(self, index: int) -> Space: ...

    @overload
    def __getitem__(self, index: slice) -> list[Space]: ...

    def __getitem__(self, index: int | slice) -> Space | list[Space]:
        return self._spaces[index]

    def __len__(self) -> int:
        return len(self._spaces)

    def meet(self, *devices: int) -> None:
        """Let these devices, all of them if none are named, meet until each holds what the others hold."""
        self._check(*devices)
        chosen = devices or range(len(self))
        # Twice round: what the first pair hears from the last comes by the second round.
        for a, b in [*combinations(chosen, 2)] * 2:
            self._meet_two(a, b)

    def set_clock(self, device: int, off_ms: int) -> None:
        """Let a device's clock be wrong by so many milliseconds: fast if positive, slow if negative."""
        self._check(device)
        self._off_ms[device] = off_ms

    def wait(self, span_ms: int) -> None:
        """Let time pass on all devices."""
        self._now_ms += span_ms

    @contextmanager
    def at(self, device: int) -> Iterator[Space]:
        """Give a device's space, for the length of a block in which Python's clock and chance are that device's."""
        self._check(device)
        self._now_ms += STEP_MS
        with replaced(self._moment(device), self._handlers):
            yield self._spaces[device]

    def settle(self) -> None:
        """Let everybody hold everything, and let the time of every stamp come: clocks go right, and past what is held."""
        self._off_ms = [0] * len(self)
        stamps_ms = [hlc_ms(entry.timestamp.hlc) for space in self for entry in space.log()]
        self._now_ms = max([self._now_ms, *stamps_ms]) + STEP_MS
        self.meet()
        for at in range(len(self)):
            with self.at(at) as space:
                space.receive([])  # a transaction in which what is no longer held takes its place

    @contextmanager
    def fresh(self) -> Iterator[Space]:
        """Give a device that has joined just now and was given everything at once: nothing was ever late for it."""
        envelopes = {raw: None for space in self for raw in space.envelopes_for(VersionVector())}
        with (
            self.app.join(":memory:", self[0].invite(), clock=lambda: self._now_ms, entropy=self._entropy) as space,
            replaced(self._moment(len(self)), self._handlers),
        ):
            space.receive(envelopes)
            yield space

    def assert_agreement(self) -> None:
        """Let all meet, and raise `AssertionError` unless they then show what a device shows that joins afterwards."""
        what = self.disagreement()
        assert what is None, f"devices that hold the same events differ: {what}\n{CAUSES}"

    def disagreement(self) -> str | None:
        """Let all meet, and say in what one of them then differs from a device that joins afterwards, None if in nothing."""
        self.settle()
        with self.fresh() as fresh:
            for at, space in enumerate(self):
                what = difference_of(self.app, Named(name_of(at), space), Named(JOINED, fresh), self.names())
                if what is not None:
                    return what
        return None

    def names(self) -> dict[DeviceKey, str]:
        """Name the devices by their keys, as stories do."""
        return {DeviceKey(space.device): name_of(at) for at, space in enumerate(self)}

    def difference(self) -> str | None:
        """Say how the devices differ as they are now, None if they do not."""
        for a, b in combinations(range(len(self)), 2):
            one, other = (Named(name_of(at), self[at]) for at in (a, b))
            what = difference_of(self.app, one, other, self.names())
            if what is not None:
                return what
        return None

    def describe(self) -> str:
        """Say what each device holds, and how they differ as they are now, for people whose test has failed."""
        lines = []
        for at, space in enumerate(self):
            try:
                status = space.status()
                lines.append(
                    f"{name_of(at)}: {counted(status.events, 'event')}, {status.rejected} rejected, {status.held} held"
                )
            except DriftlogError as error:
                # A test that closes a space or breaks its file has failed all the same, and wants to know of the rest.
                return "\n".join([*lines, f"{name_of(at)}: {error}"])
        return "\n".join([*lines, self.difference() or "no two devices differ"])

    def close(self) -> None:
        """Close all spaces."""
        for space in self._spaces:
            space.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, *devices: int) -> None:
        for device in devices:
            if not 0 <= device < len(self):
                raise ValueError(f"device {device} of a fleet of {len(self)}; they count from 0")

    def _meet_two(self, a: int, b: int) -> None:
        # Each takes in what the other has under its own time: the second round of `exchange` finds nothing left.
        for here, there in ((a, b), (b, a)):
            with self.at(here) as space:
                space.receive(list(self[there].envelopes_for(space.version_vector())))
        exchange(self[a], self[b])

    def _clock(self, device: int) -> Callable[[], int]:
        return lambda: self._now_ms + self._off_ms[device]

    def _moment(self, device: int) -> Moment:
        off_ms = self._off_ms[device] if device < len(self) else 0
        # A day and some apart: a materializer that asks for no more than the date must give itself away, too.
        start_s = (self._now_ms + off_ms) // 1_000 + device * 100_000
        return Moment(max(0, start_s), self._now_ms * DEVICES_MAX + device)

    def _entropy(self, count: int) -> bytes:
        # The same keys in every run: a story that is played again is the same to the byte.
        self._draws += 1
        return shake_128(f"crew {self._draws}".encode()).digest(count)
