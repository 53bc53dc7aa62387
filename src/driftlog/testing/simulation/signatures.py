"""Signatures in a simulated world: each is verified by the real cryptography, once, and not again by every device.

Whether a signature is by a key hangs on message, signature and key, and on nothing that a world has; and all its devices and
relays live in one process. What a single bit makes different is verified for itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from driftlog._crypto import verify


@contextmanager
def verified_once() -> Iterator[None]:
    """Remember within what was verified, of envelopes that were signed and of those that were not."""
    verify_really = verify.is_signed
    found: dict[tuple[bytes, bytes, bytes], bool] = {}

    def is_signed(message: bytes, signature: bytes, key: bytes) -> bool:
        asked = (message, signature, key)
        known = found.get(asked)
        if known is None:
            known = found[asked] = verify_really(message, signature, key)
        return known

    verify.is_signed = is_signed
    try:
        yield
    finally:
        verify.is_signed = verify_really
