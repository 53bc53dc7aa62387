"""What the driver and the relay ask of a transport: open a connection, send and receive whole binary messages, close.

Messages arrive once, whole and in order, or the connection ends. A transport retries nothing and keeps nothing.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class ConnectionLost(Exception):
    """The connection could not be opened or has ended: a state, not an error. The text says why, to a person."""


class Connection(Protocol):
    """One open connection. One task may receive while another sends."""

    async def send(self, data: bytes) -> None:
        """Hand over one message; waits while too much is on its way. Raises `ConnectionLost`."""
        ...

    async def receive(self) -> bytes:
        """Give the next message. Raises `ConnectionLost`. May be cancelled without losing a message."""
        ...

    async def close(self, reason: str) -> None:
        """Close, after what was sent, within a few seconds. Never raises; may be called twice."""
        ...


Connect = Callable[[str], AbstractAsyncContextManager[Connection]]
"""Opens a connection to a URL for the length of a `with` block. Entering raises `ConnectionLost`."""
