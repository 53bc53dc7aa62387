"""What a simulated world remembers of signatures is what the cryptography says of each."""

import pytest

from driftlog._crypto import verify
from driftlog._crypto.keys import SigningKey
from driftlog.testing.simulation.signatures import verified_once

KEY = SigningKey.of_seed(bytes(32))


def test_every_altered_bit_is_another_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[tuple[bytes, bytes, bytes]] = []
    really = verify.is_signed

    def note(message: bytes, signature: bytes, key: bytes) -> bool:
        verified.append((message, signature, key))
        return really(message, signature, key)

    monkeypatch.setattr(verify, "is_signed", note)
    signature = KEY.sign(b"message")
    altered = [bytes([*signature[:at], signature[at] ^ 1, *signature[at + 1 :]]) for at in range(64)]

    with verified_once():
        for _ in range(2):
            assert verify.is_signed(b"message", signature, KEY.public)
            assert not verify.is_signed(b"Message", signature, KEY.public)
            assert not any(verify.is_signed(b"message", one, KEY.public) for one in altered)

    assert len(verified) == 66
    assert verify.is_signed is note
