"""What the conductor and the processes of the demo say to each other: JSON, one message a line, on stdin and stdout."""

from typing import Final

import msgspec

# --- to a device -----------------------------------------------------------------------------------------------------


class Write(msgspec.Struct, frozen=True, tag="write"):
    """Append events one by one, and acknowledge each after `append` has returned."""

    events: tuple[tuple[str, dict[str, str]], ...]
    """Names and fields."""
    pause_ms: float
    """Between two events: people do not type faster."""


class GoOnline(msgspec.Struct, frozen=True, tag="go online"):
    """Begin to exchange with a relay."""

    url: str


class GoOffline(msgspec.Struct, frozen=True, tag="go offline"):
    """Stop exchanging."""


class Settle(msgspec.Struct, frozen=True, tag="settle"):
    """Wait until everything is exchanged with the relay."""

    seconds_max: float


class Tell(msgspec.Struct, frozen=True, tag="tell"):
    """Say what the log and the tables hold."""

    stamps: tuple[str, ...]
    """Stamps to look for in the log."""


class Quit(msgspec.Struct, frozen=True, tag="quit"):
    """Close the space and end."""


Ask = Write | GoOnline | GoOffline | Settle | Tell | Quit


# --- from a device or the relay --------------------------------------------------------------------------------------


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The space is open, or the relay listens."""

    where: str
    """The link by which others join; of a relay, its URL."""
    device: str = ""


class Acknowledged(msgspec.Struct, frozen=True, tag="acknowledged"):
    """`append` has returned for an event: it is on the disk."""

    stamp: str


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """`append` has raised `EventRejected`: this device's own tables forbid the event already."""

    reason: str


class Tick(msgspec.Struct, frozen=True, tag="tick"):
    """How a device stands, several times a second."""

    phase: str = "off"
    events: int = 0
    pending: int = 0
    rejected: int = 0
    replayed: int = 0
    """Runs of materializers beyond an event's first."""
    envelopes_sent: int = 0
    bytes_sent: int = 0
    envelopes_received: int = 0
    bytes_received: int = 0


class Told(msgspec.Struct, frozen=True, tag="told"):
    """What the log and the tables hold."""

    digest: str
    vector: str
    """A hash of the version vector: equal where the same envelopes are held."""
    events: int
    own: int
    rejections: dict[str, str]
    """Reasons, by the stamp of the rejected event."""
    missing: tuple[str, ...]
    """Of the stamps asked for, those that are not in the log."""
    bookings: int


class Done(msgspec.Struct, frozen=True, tag="done"):
    """What was asked is done."""

    is_settled: bool = True


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The process cannot go on."""

    reason: str


Answer = Opened | Acknowledged | Refused | Tick | Told | Done | Failed

encode: Final = msgspec.json.Encoder().encode
decode_ask: Final = msgspec.json.Decoder(Ask).decode
decode_answer: Final = msgspec.json.Decoder(Answer).decode
