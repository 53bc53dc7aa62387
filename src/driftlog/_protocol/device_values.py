"""What goes into and comes out of the device's half of a conversation: inputs, effects, and the state shown to people.

Answers of the replica carry the number of the connection they were asked for, so that a late one, of a connection that
is gone, can be told from a present one.
"""

from dataclasses import dataclass
from enum import Enum

import msgspec

from driftlog._core.genesis import Genesis
from driftlog._core.ids import Birthday, DeviceKey, Position
from driftlog._core.version_vector import Head, VersionVector


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a device says of itself when a conversation begins: the space, and how far it has read from this relay."""

    genesis: Genesis
    device: DeviceKey
    birthday: Birthday | None
    """The relay's birthday at the last conversation, None if there was none."""
    cursor: Position
    vector: VersionVector
    """The chains held up to here, without gaps."""


@dataclass(frozen=True, slots=True)
class Outbound:
    """An envelope that the relay lacks."""

    device: DeviceKey
    head: Head
    raw: bytes


class Phase(Enum):
    """How a device stands with a relay, as people see it."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    CATCHING_UP = "catching up"
    SYNCED = "synced"
    REFUSED = "refused"
    STOPPED = "stopped"


class SyncState(msgspec.Struct, frozen=True):
    """How a device stands with a relay: the phase, why, and how much has passed since the session began."""

    phase: Phase
    detail: str = ""
    position: int = 0
    """The relay's highest position that this device has heard of, 0 before the first welcome."""
    cursor: int = 0
    envelopes_sent: int = 0
    """Counted when the relay says that they are durable."""
    bytes_sent: int = 0
    envelopes_received: int = 0
    """Counted when they are applied."""
    bytes_received: int = 0
    local_changes: int = 0
    """The count of this device's changes that this was said after: a later change may not be in it."""


# --- inputs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start:
    """Begin."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """End, at any time."""


@dataclass(frozen=True, slots=True)
class Connected:
    """The connection asked for is open."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection asked for could not be opened, or is no longer open. Comes exactly once for each `Connect`."""

    reason: str


@dataclass(frozen=True, slots=True)
class FrameReceived:
    """One binary message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class TimerFired:
    """The time last asked for has passed."""


@dataclass(frozen=True, slots=True)
class LocalChange:
    """The replica may hold something that the relay lacks."""

    count: int
    """How often it has changed, by the replica's own count."""


@dataclass(frozen=True, slots=True)
class Greeted:
    """Answers `LoadGreeting`."""

    connection: int
    greeting: Greeting


@dataclass(frozen=True, slots=True)
class Signed:
    """Answers `SignHello`."""

    connection: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """Answers `LoadKnownHeads`."""

    connection: int
    heads: VersionVector


@dataclass(frozen=True, slots=True)
class Applied:
    """Answers `Apply`: envelopes and cursor are on the device's disk."""

    connection: int
    new_count: int
    """Envelopes that the replica did not hold before."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Answers `LoadOutgoing`; nothing means that the relay lacks nothing."""

    connection: int
    envelopes: tuple[Outbound, ...]


@dataclass(frozen=True, slots=True)
class ReplicaFailed:
    """Answers any of the above, or a `Confirm` or `LookAround`, that went wrong.

    What can be retried is the machine's doing: disk full, busy, I/O.
    """

    connection: int
    reason: str
    is_retryable: bool


Answer = Greeted | Signed | Known | Applied | Outgoing | ReplicaFailed
Input = Start | Shutdown | Connected | Disconnected | FrameReceived | TimerFired | LocalChange | Answer


# --- effects ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a connection. There is at most one."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send one binary message."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection, or give up opening it."""

    reason: str


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Fire once after this delay. A timer that was set before is forgotten."""

    delay_ms: int


@dataclass(frozen=True, slots=True)
class LoadGreeting:
    """Ask the replica for its greeting."""

    connection: int


@dataclass(frozen=True, slots=True)
class SignHello:
    """Ask the replica to sign with the space's access key."""

    connection: int
    message: bytes


@dataclass(frozen=True, slots=True)
class LoadKnownHeads:
    """Ask the replica for its heads in the relay's coordinates."""

    connection: int
    relay: VersionVector


@dataclass(frozen=True, slots=True)
class Apply:
    """Have the replica take in envelopes and the cursor after them, in one transaction."""

    connection: int
    birthday: Birthday
    envelopes: tuple[bytes, ...]
    cursor: Position


@dataclass(frozen=True, slots=True)
class LoadOutgoing:
    """Ask the replica for envelopes that the relay lacks, its own and other devices', leaving out some devices'."""

    connection: int
    relay_has: VersionVector
    skipped: frozenset[DeviceKey]
    bytes_max: int


@dataclass(frozen=True, slots=True)
class Confirm:
    """Tell the replica that the relay holds its own chain up to this head, if this head is of its own chain.

    It holds it in this life of its database: with another birthday, what was confirmed before is not confirmed any more.
    """

    connection: int
    birthday: Birthday
    head: Head | None
    """None: it holds nothing of that chain."""
    is_all: bool
    """Whether it said that it holds no more, so that what was confirmed beyond that is not confirmed any more."""


@dataclass(frozen=True, slots=True)
class LookAround:
    """Have the replica find out whether others have changed its file. If so, it says that it has changed."""

    connection: int


@dataclass(frozen=True, slots=True)
class Report:
    """Show people how it stands."""

    state: SyncState


Ask = LoadGreeting | SignHello | LoadKnownHeads | Apply | LoadOutgoing
Job = Ask | Confirm | LookAround | Report
"""What is done by the replica."""

Effect = Connect | Send | Close | SetTimer | Job
