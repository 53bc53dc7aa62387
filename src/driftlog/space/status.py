"""What `space.status()` and the replication primitives report, as plain frozen values."""

from dataclasses import dataclass

from driftlog._core.clock import Timestamp
from driftlog._core.event import Event, EventType
from driftlog._core.ids import DeviceKey
from driftlog._core.merge import Way
from driftlog._protocol.device_values import SyncState
from driftlog._store.findings import Agreement
from driftlog._store.log import State


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One event in the log, as it is read by people and programs."""

    timestamp: Timestamp
    """Its place: `.hlc`, `.device`, `.event_hash`; sorts in the total order."""
    wall_ms: int
    """What the clock of its device showed, milliseconds since 1970."""
    name: str
    version: int
    """As it was appended; the event may be of a newer version, to which the app upgrades it."""
    event: Event | None
    """The event, or None if its type or version is not one this app declares or upgrades, or its payload does not fit."""
    state: State
    reason: str | None
    """Why it was rejected."""


@dataclass(frozen=True, slots=True)
class Rejected(LogEntry):
    """A rejected event, and which events it lost against."""

    lost_to: tuple[Timestamp, ...]
    """The latest earlier events that wrote the rows it came across by their keys, in order.

    One of them may be no cause, only the last word on a row that was looked at. Empty where nothing is known: the
    materializer looked at a whole table, a UNIQUE value or a row nobody has written, or the writer is more than 100,000
    events back.
    """


@dataclass(frozen=True, slots=True)
class Verdict:
    """An event that has become another state than it had."""

    entry: LogEntry
    """The event with its state as it became, and the reason; what has become of it since is in the log."""
    before: State | None
    """What it was, None if it was not in this log."""

    @property
    def state(self) -> State:
        """What it became."""
        return self.entry.state


@dataclass(frozen=True, slots=True)
class Refusal:
    """An envelope that was not let in."""

    index: int
    """Its place among those that were given."""
    reason: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What `space.receive` did."""

    envelopes: int
    """Envelopes that were new."""
    applied: int
    """Events that took their place, whatever became of them there."""
    replayed: int
    """Events that had their place already and were replayed, because earlier ones arrived."""
    held: int
    """Events whose stamp is more than a day ahead of this device's clock."""
    void: int
    """Events that count for nobody, because their stamp does not follow their device's previous one."""
    waiting: int
    """Envelopes kept until their predecessor arrives."""
    dropped: int
    """Envelopes not kept, because too many wait for a predecessor already: give them again after those."""
    refused: tuple[Refusal, ...]
    """Envelopes that were not let in, and why."""
    way: Way | None
    """How the events took their place, None if there were none."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of comparing this device's view with the digest that another device stated, of the same events."""

    device: DeviceKey
    agreement: Agreement
    statement: Timestamp
    """The event with which it was stated."""
    found_ms: int
    """When they were compared, by this device's clock."""
    equal_ms: int | None
    """When the two were last found equal, or this device's were mended; None if they never were."""


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """A device of the space, as this one knows it."""

    device: DeviceKey
    is_self: bool
    envelopes: int
    """The number of its last envelope."""
    is_forked: bool
    """Two histories bear this device's key: it was copied, or restored from a backup. All of both counts."""
    held: int
    """Its events that wait because their stamps are too far ahead: its clock was wrong."""
    heard_hlc: int
    """No event of it with this stamp or an earlier one can still arrive, as far as is known; 0 if nothing is."""
    compared: Comparison | None
    """Whether its tables were those of this device when that could last be told; None if it never could."""


@dataclass(frozen=True, slots=True)
class RelayStatus:
    """A relay, as this device knows it."""

    url: str
    cursor: int
    """How far this device has read, in the relay's positions."""
    confirmed_envelopes: int
    """Own envelopes up to this number are durable there."""
    refused: int
    """Envelopes from it that were not let in, because they were not authentic envelopes of this space."""
    refused_reason: str | None
    """Why the last of them was not."""
    state: SyncState | None
    """The conversation that goes on, if any."""


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a space on this device."""

    pending: int
    """Own events that no relay is known to hold durably."""
    confirmed: int
    """Own events that a relay holds durably."""
    events: int
    rejected: int
    held: int
    unknown: int
    waiting_envelopes: int
    """Envelopes kept until their predecessor arrives."""
    void: int
    """Events received that count for nobody."""
    devices: tuple[DeviceStatus, ...]
    relays: tuple[RelayStatus, ...]
    is_read_only: bool
    settled: Timestamp | None
    """The last event of the part of the order in which nothing can change any more; see `Space.settled`."""
    held_back_by: DeviceKey | None
    """The device that must be heard from before more is settled, of those the one that is furthest behind: its `heard_hlc`
    says since when. None if all events are settled."""
    needs_upgrade: tuple[EventType, ...]
    """Name and version of critical event types that this version of the app does not know, at most 16 of them: while there
    are any, `append` raises `NeedsUpgrade`; syncing goes on."""
    differing: tuple[Comparison, ...]
    """Whose tables are others than this device's although the events are the same, when that could last be told."""
