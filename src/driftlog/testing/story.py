"""A story: what the users of a few devices do, one step after the other, and what must be true when all have met.

A story is a value that prints as text, so a failing test can show it, a shorter one can be tried in its place, and one that
was found once can be kept as a test of its own. Who draws stories is `strategies`, who plays them `convergence`.
"""

from dataclasses import dataclass
from typing import Final, assert_never

from driftlog._core.event import Event

DEVICE_NAMES: Final = "ABCDEFGH"
DEVICES_MAX: Final = len(DEVICE_NAMES)


@dataclass(frozen=True, slots=True)
class Appends:
    """A user's operation: events that are appended together. Refused ones change nothing, here as in the app."""

    device: int
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Undoes:
    """A user takes back an event that their device holds: the latest but `back` of them."""

    device: int
    back: int


@dataclass(frozen=True, slots=True)
class Meets:
    """Two devices exchange all they hold. A device is offline in all other steps."""

    device: int
    other: int


@dataclass(frozen=True, slots=True)
class ClockIsOff:
    """A device's clock shows a time that is wrong by `off_ms`, from now on."""

    device: int
    off_ms: int


Step = Appends | Undoes | Meets | ClockIsOff


@dataclass(frozen=True)
class Story:
    """Steps of a fleet of `devices`. They count from 0, and print as A, B, C."""

    devices: int
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        for number, step in enumerate(self.steps, 1):
            if not isinstance(step, Step):
                raise TypeError(f"step {number} is {step!r}; give Appends, Undoes, Meets or ClockIsOff")
            if isinstance(step, Appends) and not isinstance(step.events, tuple):
                raise TypeError(f"step {number} appends {step.events!r}; give a tuple of events, (event,) for one")
            for device in devices_of(step):
                if not 0 <= device < self.devices:
                    raise ValueError(f"step {number} is of device {device}, and there are {self.devices}, from 0 on")

    def __str__(self) -> str:
        return (
            "\n".join(f"  {number}. {told(step)}" for number, step in enumerate(self.steps, 1)) or "  nothing happens"
        )


def name_of(device: int) -> str:
    """Give a device's name in stories."""
    return DEVICE_NAMES[device]


def devices_of(step: Step) -> tuple[int, ...]:
    """Give the devices that have a part in a step."""
    return (step.device, step.other) if isinstance(step, Meets) else (step.device,)


def told(step: Step) -> str:
    """Tell a step in a sentence."""
    match step:
        case Appends(device, events):
            return f"{name_of(device)} appends {', '.join(map(repr, events))}"
        case Undoes(device, back):
            which = "its latest event" if not back else f"the event {back} before its latest"
            return f"{name_of(device)} undoes {which}"
        case Meets(device, other):
            return f"{name_of(device)} and {name_of(other)} meet"
        case ClockIsOff(device, off_ms):
            if not off_ms:
                return f"{name_of(device)}'s clock is right"
            return f"{name_of(device)}'s clock is {_span(abs(off_ms))} {'fast' if off_ms > 0 else 'slow'}"
        case _:
            assert_never(step)


def _span(span_ms: int) -> str:
    for unit, length_ms in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if span_ms % length_ms == 0:
            return f"{span_ms // length_ms} {unit}"
    return f"{span_ms} ms"
