"""Every format of Driftlog, read and written a second time by code that shares nothing with the engine.

A format that only its own writer reads is whatever that writer does. This module is the other reader: the oracle opens
envelopes with it and the vectors are written with it, so a slip in the engine shows as a disagreement. It is written
for obviousness; where it reads it takes well-formed input for granted, because the engine let that input in.
"""

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import NamedTuple

from nacl import bindings

from tests.vectors.msgpack import unpack

HEADER_BYTES = 1 + 1 + 32 + 8 + 32 + 8 + 32 + 24 + 4
SIGNATURE_BYTES = 64
TAG_BYTES = 16


class Entry(NamedTuple):
    """One event as a batch carries it."""

    hlc: int
    wall_ms: int
    name: str
    version: int
    payload: bytes
    is_critical: bool = False

    def written_version(self) -> int:
        """Give the version as batch and hash hold it: in 16 bits, the first of which says that the type is critical."""
        return self.version + (0x8000 if self.is_critical else 0)

    def fields(self) -> dict[str, object]:
        """Give the payload's fields."""
        fields, end = unpack(self.payload, 0)
        assert isinstance(fields, dict)
        assert end == len(self.payload)
        return fields


Head = tuple[bytes, int, bytes]
"""Device, number, hash."""


class Opened(NamedTuple):
    """An envelope with its seal broken: who, which number, after what, and what it says."""

    device: bytes
    number: int
    previous: bytes
    hash: bytes
    entries: tuple[Entry, ...]
    heads: tuple[Head, ...]


class Author(NamedTuple):
    """What it takes to write envelopes by hand: a device's signing key, and the space with its epoch key."""

    public: bytes
    secret: bytes
    space: bytes
    epoch_key: bytes

    @classmethod
    def of_seed(cls, seed: bytes, space: bytes, epoch_key: bytes) -> "Author":
        """Make the author whose Ed25519 seed is `seed`."""
        public, secret = bindings.crypto_sign_seed_keypair(seed)
        return cls(public, secret, space, epoch_key)


def blake(purpose: str, *parts: bytes) -> bytes:
    """Hash with BLAKE2b-256, personalised by `purpose`."""
    return blake2b(b"".join(parts), digest_size=32, person=purpose.encode()).digest()


def uint(value: int) -> bytes:
    """Write unsigned LEB128."""
    groups = []
    while True:
        value, low = value >> 7, value & 127
        groups.append(low | (128 if value else 0))
        if not value:
            return bytes(groups)


def read_uint(data: bytes, at: int) -> tuple[int, int]:
    """Read unsigned LEB128 at `at`; give the value and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def sized(data: bytes) -> bytes:
    """Write a length and the bytes."""
    return uint(len(data)) + data


def padded(content: bytes) -> bytes:
    """Pad to the PADMÉ size: round up so that all but the leading log2(log2(n)) + 1 bits of the length are zero."""
    size = max(len(content), 256)
    exponent = size.bit_length() - 1
    step = 2 ** (exponent - (exponent.bit_length() - 1) - 1)
    return content + bytes(-(-size // step) * step - len(content))


def event_hash(space: bytes, device: bytes, entry: Entry) -> bytes:
    """Hash an event with its place."""
    name = entry.name.encode()
    return blake(
        "driftlog event 1",
        space,
        device,
        entry.hlc.to_bytes(8, "big"),
        (entry.wall_ms % 2**64).to_bytes(8, "big"),
        entry.written_version().to_bytes(2, "big"),
        len(name).to_bytes(2, "big"),
        name,
        entry.payload,
    )


def write_batch(entries: Iterable[Entry], heads: Iterable[Head] = ()) -> bytes:
    """Write a padded batch."""
    entries, heads = tuple(entries), tuple(heads)
    types = list(dict.fromkeys((entry.name, entry.written_version()) for entry in entries))
    body = b"\x01" + uint(len(heads))
    body += b"".join(device + uint(number) + hashed for device, number, hashed in heads)
    body += uint(len(types)) + b"".join(sized(name.encode()) + uint(version) for name, version in types)
    body += uint(len(entries))
    last = 0
    for entry in entries:
        drift = entry.wall_ms - entry.hlc // 65536
        body += uint(entry.hlc - last) + uint(2 * drift if drift >= 0 else -2 * drift - 1)
        body += uint(types.index((entry.name, entry.written_version()))) + sized(entry.payload)
        last = entry.hlc
    return padded(len(body).to_bytes(4, "big") + body)


def read_batch(plain: bytes) -> tuple[tuple[Entry, ...], tuple[Head, ...]]:
    """Read a padded batch that is well-formed."""
    assert plain[4] == 1
    count, at = read_uint(plain, 5)
    heads = []
    for _ in range(count):
        device, at = plain[at : at + 32], at + 32
        number, at = read_uint(plain, at)
        heads.append((device, number, plain[at : at + 32]))
        at += 32
    types = []
    count, at = read_uint(plain, at)
    for _ in range(count):
        size, at = read_uint(plain, at)
        name, at = plain[at : at + size].decode(), at + size
        version, at = read_uint(plain, at)
        types.append((name, version))
    entries = []
    count, at = read_uint(plain, at)
    hlc = 0
    for _ in range(count):
        step, at = read_uint(plain, at)
        hlc += step
        folded, at = read_uint(plain, at)
        drift = folded // 2 if folded % 2 == 0 else -(folded + 1) // 2
        index, at = read_uint(plain, at)
        size, at = read_uint(plain, at)
        name, version = types[index]
        entries.append(
            Entry(hlc, hlc // 65536 + drift, name, version % 0x8000, plain[at : at + size], version >= 0x8000)
        )
        at += size
    assert at == 4 + int.from_bytes(plain[:4], "big")
    return tuple(entries), tuple(heads)


def write_header(author: Author, number: int, previous: bytes, nonce: bytes, sealed_bytes: int) -> bytes:
    """Write an envelope's clear header."""
    epoch = blake("driftlog epoch 1", author.epoch_key)[:8]
    place = author.public + number.to_bytes(8, "big") + previous
    return b"\x01\x01" + author.space + epoch + place + nonce + sealed_bytes.to_bytes(4, "big")


def write_envelope(
    author: Author, number: int, previous: bytes, plain: bytes, nonce: bytes = bytes(24)
) -> tuple[bytes, bytes]:
    """Seal and sign a padded batch; give the envelope's bytes and its hash. The nonce is the caller's to choose."""
    clear = write_header(author, number, previous, nonce, len(plain) + TAG_BYTES)
    unsigned = clear + bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, clear, nonce, author.epoch_key)
    hashed = blake("driftlog envlp 1", unsigned)
    return unsigned + bindings.crypto_sign(hashed, author.secret)[:SIGNATURE_BYTES], hashed


def place_of(raw: bytes) -> tuple[bytes, int, bytes, bytes]:
    """Read an envelope's device, number, predecessor and own hash from the outside."""
    number = int.from_bytes(raw[74:82], "big")
    return raw[42:74], number, raw[82:114], blake("driftlog envlp 1", raw[:-SIGNATURE_BYTES])


def open_envelope(raw: bytes, epoch_key: bytes) -> Opened:
    """Break an authentic envelope's seal and read it."""
    device, number, previous, hashed = place_of(raw)
    clear, nonce = raw[:HEADER_BYTES], raw[114:138]
    bindings.crypto_sign_open(raw[-SIGNATURE_BYTES:] + hashed, device)
    sealed = raw[HEADER_BYTES:-SIGNATURE_BYTES]
    plain = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, clear, nonce, epoch_key)
    entries, heads = read_batch(plain)
    return Opened(device, number, previous, hashed, entries, heads)


def write_genesis(root_key: bytes, access_key: bytes, epoch_key: bytes, salt: bytes) -> bytes:
    """Write a genesis that commits to `epoch_key`."""
    return b"\x01\x01" + root_key + access_key + blake("driftlog epoch 1", epoch_key) + salt


def write_vector(heads: Iterable[Head]) -> bytes:
    """Write a version vector of heads that are in order."""
    heads = tuple(heads)
    return b"\x01" + uint(len(heads)) + b"".join(device + uint(number) + hashed for device, number, hashed in heads)


def in_base64url(data: bytes, alphabet: str = "") -> str:
    """Write base64url without padding, digit by digit, so that no library decides what is canonical."""
    letters = alphabet or "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 6)
    return "".join(letters[int(bits[at : at + 6], 2)] for at in range(0, len(bits), 6))


def write_invite(genesis: bytes, epoch_key: bytes, app_name: str) -> str:
    """Write an invite link."""
    content = b"\x01" + genesis + epoch_key + sized(app_name.encode())
    return "driftlog://join#" + in_base64url(content + blake("driftlog invite1", content)[:4])


def altered(data: bytes, at: int, change: Callable[[int], int]) -> bytes:
    """Give `data` with the byte at `at` changed."""
    return data[:at] + bytes([change(data[at]) & 255]) + data[at + 1 :]
