"""A device's keys for one space, all derived from one seed; and an epoch's key, drawn at random.

The seed is the only secret that a device keeps outside its database. What is derived from it is named by purpose and
space, so that no key serves two ends and no space can tell that another holds the same device.
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

from nacl import bindings

from driftlog._core.genesis import SALT_BYTES, Genesis, Invite
from driftlog._core.ids import EPOCH_ID_BYTES, DeviceKey, EpochId, SpaceId, digest

SEED_BYTES = 32

Entropy = Callable[[int], bytes]
"""Gives that many random bytes: `os.urandom`, or a seeded source in tests."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 key pair."""

    public: bytes
    secret: bytes

    @classmethod
    def of_seed(cls, seed: bytes) -> "SigningKey":
        """Give the key pair of a 32-byte seed."""
        public, secret = bindings.crypto_sign_seed_keypair(seed)
        return cls(public, secret)

    def sign(self, message: bytes) -> bytes:
        """Give the 64-byte signature of a message. Costs about 20 µs."""
        signed: bytes = bindings.crypto_sign(message, self.secret)
        return signed[: bindings.crypto_sign_BYTES]

    def __repr__(self) -> str:
        # The secret must not reach a log by way of a traceback.
        return f"SigningKey({self.public[:4].hex()})"


@dataclass(frozen=True, slots=True)
class SpaceKeys:
    """What a device needs to write, read and reach one space."""

    device: SigningKey
    access: SigningKey
    epoch_key: bytes
    epoch: EpochId
    space: SpaceId

    @property
    def device_key(self) -> DeviceKey:
        """The device's identity in this space."""
        return DeviceKey(self.device.public)

    @classmethod
    def of(cls, seed: bytes, genesis: Genesis, epoch_key: bytes) -> "SpaceKeys":
        """Derive them from the device's seed and what the space grants."""
        assert commitment(epoch_key) == genesis.epoch_commitment
        device = SigningKey.of_seed(_derive(seed, b"device", genesis.space))
        return cls(device, access_key(epoch_key), epoch_key, genesis.epoch, genesis.space)

    def __repr__(self) -> str:
        return f"SpaceKeys(space {self.space[:4].hex()}, device {self.device.public[:4].hex()})"


def found_space(seed: bytes, entropy: Entropy) -> tuple[Genesis, bytes]:
    """Draw a new space's first epoch key, and found the space on it. Gives the genesis and the epoch key."""
    salt = entropy(SALT_BYTES)
    epoch_key = entropy(SEED_BYTES)
    root = SigningKey.of_seed(_derive(seed, b"root", salt))
    return Genesis(root.public, access_key(epoch_key).public, commitment(epoch_key), salt), epoch_key


def is_for(invite: Invite) -> bool:
    """Tell whether an invite's epoch key is the one that its genesis names."""
    return commitment(invite.epoch_key) == invite.genesis.epoch_commitment


def commitment(epoch_key: bytes) -> bytes:
    """Commit to an epoch's key. XChaCha20-Poly1305 alone would let two keys open one ciphertext."""
    return digest(b"driftlog epoch 1", epoch_key)


def epoch_id(epoch_key: bytes) -> EpochId:
    """Give the id under which envelopes name the epoch."""
    return EpochId(commitment(epoch_key)[:EPOCH_ID_BYTES])


def access_key(epoch_key: bytes) -> SigningKey:
    """Derive the key by which members of an epoch show a relay that they are members."""
    return SigningKey.of_seed(_derive(epoch_key, b"access", b""))


def _derive(secret: bytes, purpose: bytes, context: bytes) -> bytes:
    return blake2b(purpose + b"\0" + context, key=secret, digest_size=32, person=b"driftlog derive1").digest()
