"""What the driver needs of a space: the device's half of what a session asks for.

Calls block and are made one at a time, in order, each on some worker thread; `on_change` is called on the event loop's.
A call that raises a `StorageError` is tried again over a new connection after a while; any other `DriftlogError` ends
the session, and its text is shown in `SyncState.detail`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from driftlog._core.ids import Birthday, DeviceKey, Position
from driftlog._core.version_vector import Head, VersionVector
from driftlog._protocol.device_values import Greeting, Outbound, SyncState


class Replica(Protocol):
    """A device's copy of a space, as a driver sees it."""

    def greeting(self, url: str) -> Greeting:
        """Give the space, and how far this device has read from the relay at `url`.

        `vector` names chains up to where they are held without gaps; envelopes that wait for a predecessor do not count.
        """
        ...

    def sign_hello(self, message: bytes) -> bytes:
        """Sign with the space's access key: 64 bytes."""
        ...

    def apply(self, url: str, birthday: Birthday, envelopes: Sequence[bytes], cursor: Position) -> int:
        """Take in envelopes, and record birthday and cursor for `url`, in one transaction; durable when it returns.

        Gives how many were new here.

        The envelopes are as a relay sent them: repeated, of any device, perhaps not envelopes at all. What is refused
        is recorded and stepped over, or the session could never pass it. The cursor may be lower than the one before:
        the relay went back, and its numbering begins anew; nothing local is reset. Without envelopes, the cursor may be
        recorded later: losing it costs a repeat.
        """
        ...

    def known_heads(self, relay: VersionVector) -> VersionVector:
        """Give this device's heads in the relay's coordinates, for WANT.

        For each device: those of the relay's heads that are held here; where none is, this device's own heads, which
        prove something if the relay is ahead.
        """
        ...

    def outgoing(self, relay_has: VersionVector, skipped: frozenset[DeviceKey], bytes_max: int) -> Sequence[Outbound]:
        """Give envelopes past the relay's heads, of any device but the skipped, each device's in chain order.

        Pending local events are sealed first. At most `bytes_max` of bytes, but at least one envelope if there is any;
        nothing means that the relay lacks nothing. Everything handed out is synced to this device's disk before.
        """
        ...

    def confirm(self, url: str, birthday: Birthday, head: Head | None, *, is_all: bool) -> None:
        """The relay at `url` holds this device's chain up to `head`, None for nothing of it, durably.

        To be ignored if the head is not of the branch that this device writes. With another birthday than before, nothing
        that was confirmed until then is; if `is_all`, nothing beyond the head is.
        """
        ...

    def report(self, url: str, state: SyncState) -> None:
        """Show people how it stands."""
        ...

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback`, from any thread, whenever `outgoing` may have something new; returns what ends that."""
        ...

    def change_count(self) -> int:
        """Give how often it has changed, counted before the callbacks are called. Called on the event loop: at once."""
        ...

    def look_around(self) -> None:
        """Count a change, and call the callbacks, if somebody else has written to the same file."""
        ...
