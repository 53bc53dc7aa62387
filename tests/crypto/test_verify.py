"""A signature verifies for its key and message alone, and anything of the wrong size is refused without a sound.

The edges on which libraries disagree are vectors: `tests/vectors/ed25519.json`.
"""

import random

from driftlog._crypto.keys import SigningKey
from driftlog._crypto.verify import is_signed
from tests.vectors import edwards
from tests.vectors.formats import altered


def test_a_signature_verifies_and_any_altered_byte_of_it_its_key_or_message_does_not() -> None:
    rng = random.Random(1)
    for _ in range(8):
        key, message = SigningKey.of_seed(rng.randbytes(32)), rng.randbytes(32)
        signature = key.sign(message)
        assert is_signed(message, signature, key.public)
        for at in range(64):
            change = rng.randrange(1, 256)
            assert not is_signed(message, altered(signature, at, lambda byte, c=change: byte ^ c), key.public)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        for at in range(32):
            change = rng.randrange(1, 256)
            assert not is_signed(altered(message, at, lambda byte, c=change: byte ^ c), signature, key.public)  # type: ignore[misc]  # as above
            assert not is_signed(message, signature, altered(key.public, at, lambda byte, c=change: byte ^ c))  # type: ignore[misc]  # as above


def test_a_signature_or_key_of_a_wrong_size_is_refused() -> None:
    key = SigningKey.of_seed(bytes(32))
    signature = key.sign(b"m")
    for size in (0, 1, 63, 65, 128):
        assert not is_signed(b"m", (signature * 2)[:size], key.public)
    for size in (0, 1, 31, 33, 64):
        assert not is_signed(b"m", signature, (key.public * 2)[:size])


def test_the_second_verifier_agrees_on_ordinary_signatures() -> None:
    rng = random.Random(2)
    for _ in range(5):
        key, message = SigningKey.of_seed(rng.randbytes(32)), rng.randbytes(20)
        assert edwards.is_valid(message, key.sign(message), key.public)
        assert not edwards.is_valid(message + b".", key.sign(message), key.public)
