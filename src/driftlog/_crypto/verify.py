"""The half of the cryptography that needs no secret: is this signature by that key?

Ed25519 as libsodium verifies it: signatures with S past the group order, keys and R of small order, and encodings that
are not canonical are refused (vectors in `tests/vectors/ed25519.json`), because libraries disagree on exactly those.
"""

from nacl import bindings
from nacl.exceptions import BadSignatureError

from driftlog._core.envelope import Envelope


def is_signed(message: bytes, signature: bytes, key: bytes) -> bool:
    """Tell whether `signature` (64 bytes) is the Ed25519 signature of `message` by `key` (32 bytes)."""
    if len(signature) != bindings.crypto_sign_BYTES or len(key) != bindings.crypto_sign_PUBLICKEYBYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + message, key)
    except BadSignatureError:
        return False
    return True


def is_authentic(envelope: Envelope) -> bool:
    """Tell whether an envelope was signed by the device its header names. Costs about 60 µs."""
    return is_signed(envelope.hash, envelope.signature, envelope.header.device)
