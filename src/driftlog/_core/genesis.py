"""A space's genesis and the invite that carries it: the two small formats in which keys travel.

The genesis names the keys that the space grants; the space's id is its hash, so a relay can check who may read and write
with nothing registered beforehand. The invite adds the epoch key and the app's name, and goes in a link's fragment.
Layout of both in `docs/format.md`.
"""

import base64
import binascii
from dataclasses import dataclass

from driftlog._core.envelope import SUITE
from driftlog._core.ids import EPOCH_ID_BYTES, HASH_BYTES, KEY_BYTES, EpochId, SpaceId, digest
from driftlog._core.names import NAME_BYTES_MAX
from driftlog._core.wire import Malformed, Reader, write_sized
from driftlog.errors import InvalidInvite

GENESIS_VERSION = 1
SALT_BYTES = 16
GENESIS_BYTES = 2 + KEY_BYTES + KEY_BYTES + HASH_BYTES + SALT_BYTES

INVITE_VERSION = 1
INVITE_PREFIX = "driftlog://join#"
_CHECKSUM_BYTES = 4


@dataclass(frozen=True, slots=True)
class Genesis:
    """What a space is founded on."""

    root_key: bytes
    """The founder's Ed25519 public key, to which every grant will chain."""
    access_key: bytes
    """The Ed25519 public key whose holders a relay lets in: every member can derive its secret from the epoch key."""
    epoch_commitment: bytes
    """The hash of the first epoch's key: whoever opens an envelope knows that the key is the one that was meant."""
    salt: bytes

    def encode(self) -> bytes:
        """Give its bytes."""
        return bytes([GENESIS_VERSION, SUITE]) + self.root_key + self.access_key + self.epoch_commitment + self.salt

    @classmethod
    def decode(cls, data: bytes) -> "Genesis":
        """Read its bytes, or raise `Malformed`."""
        reader = Reader(data)
        version, suite = reader.take(2, "genesis version")
        if (version, suite) != (GENESIS_VERSION, SUITE):
            raise Malformed(
                f"genesis version {version}, suite {suite}; this Driftlog reads version 1, suite 1; update it"
            )
        root_key = reader.take(KEY_BYTES, "root key")
        access_key = reader.take(KEY_BYTES, "access key")
        commitment = reader.take(HASH_BYTES, "epoch commitment")
        salt = reader.take(SALT_BYTES, "salt")
        reader.end()
        return cls(root_key, access_key, commitment, salt)

    @property
    def space(self) -> SpaceId:
        """The space's id."""
        return SpaceId(digest(b"driftlog space 1", self.encode()))

    @property
    def epoch(self) -> EpochId:
        """The first epoch's id."""
        return EpochId(self.epoch_commitment[:EPOCH_ID_BYTES])


@dataclass(frozen=True, slots=True)
class Invite:
    """What a new device needs to be a member. Whoever holds it is one."""

    app_name: str
    genesis: Genesis
    epoch_key: bytes

    def link(self) -> str:
        """Give the link, about 260 characters; everything after `#` is secret."""
        out = bytearray([INVITE_VERSION])
        out += self.genesis.encode()
        out += self.epoch_key
        write_sized(out, self.app_name.encode())
        out += _checksum(bytes(out))
        return INVITE_PREFIX + base64.urlsafe_b64encode(out).rstrip(b"=").decode()

    @classmethod
    def parse(cls, link: str) -> "Invite":
        """Read a link, or raise `InvalidInvite` saying whether it is no invite at all or a damaged one."""
        link = link.strip()
        if not link.startswith(INVITE_PREFIX):
            raise InvalidInvite(f"{link[:40]!r} is not an invite; one begins with {INVITE_PREFIX!r}")
        text = link.removeprefix(INVITE_PREFIX)
        damaged = "the invite link is cut short or altered; ask for it to be sent again, and copy all of it"
        try:
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidInvite(damaged) from error
        if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
            raise InvalidInvite(damaged)
        if data[:1] not in (b"", bytes([INVITE_VERSION])):
            raise InvalidInvite(f"the invite has version {data[0]}, this Driftlog reads {INVITE_VERSION}; update it")
        if data[-_CHECKSUM_BYTES:] != _checksum(data[:-_CHECKSUM_BYTES]):
            raise InvalidInvite(damaged)
        try:
            reader = Reader(data[1:-_CHECKSUM_BYTES])
            genesis = Genesis.decode(reader.take(GENESIS_BYTES, "genesis"))
            epoch_key = reader.take(KEY_BYTES, "epoch key")
            app_name = reader.sized("app name", NAME_BYTES_MAX).decode()
            reader.end()
        except (Malformed, UnicodeDecodeError) as error:
            raise InvalidInvite(f"the invite link is malformed: {error}") from error
        return cls(app_name, genesis, epoch_key)


def _checksum(data: bytes) -> bytes:
    return digest(b"driftlog invite1", data)[:_CHECKSUM_BYTES]
