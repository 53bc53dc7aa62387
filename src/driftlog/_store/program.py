"""What an app declares, as the fold needs it: its tables, and the materializer of each event type and version."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NoReturn

import msgspec

from driftlog._core.event import Event
from driftlog._sqlite.tables import TableSet

Handler = Callable[[Any, Any], None]
"""`(tx, event) -> None`; the event's class is the one it was declared for, which only the app's own types can say."""


class Rejection(Exception):
    """Raised by `reject`: this event has no effect in its place."""

    def __init__(self, reason: str, event_name: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.event_name = event_name


def reject(reason: str) -> NoReturn:
    """Refuse the event that is being materialized; call it in a materializer.

    What the event had changed is undone, and it is recorded as rejected with `reason`, on every device alike. It is
    judged again whenever an earlier event arrives. `append` raises `EventRejected` where the event is made.
    """
    raise Rejection(reason)


@dataclass(frozen=True, slots=True)
class Materializer:
    """How one event type changes the view."""

    event_type: type[Event]
    handler: Handler
    decode: Callable[[bytes], Event]

    @classmethod
    def of(cls, event_type: type[Event], handler: Handler) -> "Materializer":
        """Pair a type with its handler and the decoder of its payload."""
        return cls(event_type, handler, msgspec.msgpack.Decoder(event_type).decode)

    @property
    def name(self) -> str:
        """The handler's name, for messages."""
        return getattr(self.handler, "__qualname__", repr(self.handler))


@dataclass(frozen=True, slots=True)
class Program:
    """The tables and materializers of one version of an app."""

    name: str
    tables: TableSet
    is_float_allowed: bool
    materializers: Mapping[tuple[str, int], Materializer] = field(default_factory=dict)

    @property
    def fingerprint(self) -> bytes:
        """Differs when the view may: other tables, or other event types known."""
        known = sorted(self.materializers)
        return blake2b(self.tables.fingerprint + repr(known).encode(), digest_size=16).digest()
