"""The registry of everything that takes bytes from outside, each with its documented refusal and its seeds.

And of what lies within a space's own file, where rot may reach it. Left out: what is never read from bytes (position runs,
the plan of a rebase), and what a library reads before us (WebSocket, SQL).
"""

import argparse
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from msgspec import field

from driftlog._core import batch, envelope, genesis, retraction, statement, values, version_vector
from driftlog._core.clock import Hlc
from driftlog._core.event import Event, Record
from driftlog._core.wire import Malformed
from driftlog._crypto import seal
from driftlog._protocol import messages
from driftlog._protocol import relay_session as rs
from driftlog._store import findings, reading, restoring
from driftlog._store.program import Materializer, Rejection
from driftlog.cli import stamps
from driftlog.errors import (
    Corrupt,
    DriftlogError,
    InvalidAddress,
    InvalidEnvelope,
    InvalidInvite,
    InvalidKey,
    MissingDeviceKey,
)
from driftlog.relay import checking
from driftlog.space import files, syncing
from tests.fuzz import conversing, within
from tests.fuzz import seeds as s
from tests.fuzz.judging import Target
from tests.fuzz.trees import Pack, Pairs, Raw, Wrapped
from tests.protocol.fakes import GENESIS, keys_of
from tests.vectors.msgpack import pack

KEYS: Final = keys_of(1)
SECOND_WRITER_BYTES_MAX: Final = 2_000


def text_of(data: bytes) -> str:
    """Give an argument's text as Python gives a command line's."""
    return data.decode(errors="surrogateescape")


def payload(data: bytes) -> bytes | None:
    read = values.check_payload(data, is_float_allowed=True)
    # The second writer is for obviousness, and slow: large payloads are canonical as the engine says of itself.
    return pack(read) if len(data) <= SECOND_WRITER_BYTES_MAX else None


def header(data: bytes) -> bytes:
    read = envelope.parse_envelope(data)
    return read.header.pack(len(read.sealed)) + read.sealed + read.signature


def opened(data: bytes) -> bytes:
    read = seal.receive(data, KEYS)
    seal.unseal(read, KEYS)
    return read.raw


def inspected(data: bytes) -> bytes:
    found = checking.inspect(GENESIS.space, data)
    if isinstance(found, rs.Rejected):
        raise Malformed(found.text)
    return found.raw


def invited(data: bytes) -> bytes:
    text = text_of(data)
    read = genesis.Invite.parse(text)
    # White space around a link is the mail program's.
    return data if read.link() == text.strip() else read.link().encode()


class _Sender(Event, name="sender"):
    id: str | int
    map: dict[str, int | list[str]] = field(default_factory=dict)
    list: tuple[int | str | None, ...] = ()
    text: str = ""


_MATERIALIZER: Final = Materializer.of(_Sender, lambda _tx, _event: None)


def app_event(data: bytes) -> None:
    values.check_payload(data, is_float_allowed=True)
    reading.read_event(_MATERIALIZER, Record(Hlc(1), 0, "sender", 1, data), is_float_allowed=True)


def named(data: bytes) -> None:
    if retraction.named_by(Record(Hlc(1), 0, retraction.UNDONE, 1, data)) is None:
        raise Malformed("no undo that can be read")


def stated(data: bytes) -> None:
    if statement.stated_by(Record(Hlc(1), 0, statement.DIGEST, 1, data)) is None:
        raise Malformed("no statement that can be read")


class _Meta:
    """One fact of a file, whatever it holds."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def get(self, _key: str) -> bytes:
        return self._data


def found(data: bytes) -> None:
    findings.read_findings(_Meta(data))  # type: ignore[arg-type]  # all that is asked of it


def log_row(data: bytes) -> None:
    restoring._event((1 << 60, data[:32], bytes(32), 0, data[:64], 1, data, 0))


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="driftlog-fuzz-"))


def key_file(data: bytes) -> None:
    database = _folder() / "space.db"
    files.key_path(database).write_bytes(data)
    files.read_seed(database)


def last_stamp(data: bytes) -> None:
    stamps.last_stamp(text_of(data))


def first_stamp(data: bytes) -> None:
    stamps.first_stamp(text_of(data))


def address(data: bytes) -> None:
    syncing.check_urls([text_of(data)])


_STAMPS: Final = tuple(
    map(Raw, (b"1800000000000.0@0a0b", b"1800000000000.65535", b"117964800000000000", b"1.0@" + b"a" * 64))
)

TARGETS: Final = (
    Target("payload", payload, (values.OutsideDomain,), s.PAYLOADS, time_factor=2),
    Target(
        "batch",
        lambda data: batch.encode_batch(batch.decode_batch(data)),
        (Malformed,),
        s.BATCHES + s.vectors("batch.json", "plain"),
    ),
    Target("envelope-header", header, (Malformed,), s.ENVELOPES + s.vectors("envelope.json", "raw")),
    Target("envelope", opened, (InvalidEnvelope,), s.ENVELOPES),
    Target("relay-inspection", inspected, (Malformed,), s.ENVELOPES),
    Target(
        "genesis",
        lambda data: genesis.Genesis.decode(data).encode(),
        (Malformed,),
        (s.GENESIS_TREE, *s.vectors("genesis.json", "data")),
    ),
    Target("invite", invited, (InvalidInvite,), (s.INVITE, *s.vectors("invite.json", "link"))),
    Target(
        "version-vector",
        lambda data: version_vector.VersionVector.decode(data).encode(),
        (Malformed,),
        s.VECTORS + s.vectors("version_vector.json", "data"),
    ),
    Target("frame-from-relay", lambda data: messages.decode_from_relay(data).encode(), (Malformed,), s.FROM_RELAY),
    Target("frame-from-device", lambda data: messages.decode_from_device(data).encode(), (Malformed,), s.FROM_DEVICE),
    Target("retraction", named, (Malformed,), s.NAMED),
    Target("statement", stated, (Malformed,), s.STATEMENTS),
    Target(
        "app-event",
        app_event,
        (Rejection, values.OutsideDomain),
        (*s.PAYLOADS, Pack(Pairs((("id", 1), ("map", Pairs((("k", ["v"]),))), ("list", [1, "a", None]))))),
        time_factor=2,  # checked, then decoded
    ),
    Target(
        "findings",
        found,
        (),
        (Pack([Pairs(((bytes(32), [1, bytes(32), "equal", 1, None]),)), [1, b"", b""]]), *s.PAYLOADS),
    ),
    Target("log-row", log_row, (), tuple(map(Raw, (b"name", bytes(64), "\u2028".encode())))),
    Target(
        "key-file",
        key_file,
        (MissingDeviceKey,),
        (Wrapped(lambda seed: b"driftlog-device 1 %s\n" % seed.hex().encode(), Raw(bytes(32))),),
    ),
    Target("last-stamp", last_stamp, (argparse.ArgumentTypeError,), _STAMPS),
    Target("first-stamp", first_stamp, (argparse.ArgumentTypeError,), _STAMPS),
    Target(
        "address",
        address,
        (InvalidAddress,),
        tuple(map(Raw, (b"wss://relay.example", b"ws://localhost:8787/x", b"ws://[::1]:1"))),
    ),
    # Sessions are handed on what they are to do, and their replica or store is one for tests, in Python.
    Target(
        "relay-session",
        conversing.with_relay,
        (),
        (s.stream(*s.FROM_DEVICE), s.stream(*s.FROM_DEVICE[:2])),
        time_factor=4,
        inputs=300,
    ),
    Target(
        "device-session",
        conversing.with_device,
        (),
        (s.stream(*s.FROM_RELAY[:5]), s.stream(*s.FROM_RELAY)),
        time_factor=4,
        inputs=300,
    ),
    # Founding a space and its tables in memory takes 10 ms and 4 MiB before the first byte is looked at.
    Target(
        "space",
        conversing.with_space,
        (),
        (s.stream(*s.CHAIN), *map(s.stream, s.ENVELOPES)),
        time_factor=20,
        memory_factor=40,
        inputs=150,
    ),
    # Read four times, and put back into tables.
    Target("undo", within.undo, (Corrupt, Malformed), within.UNDO, time_factor=16),
    # A space's file is written, opened and verified, which makes all of it anew in memory.
    Target(
        "fact", within.fact, (DriftlogError, Malformed), within.facts(), time_factor=20, memory_factor=40, inputs=100
    ),
    # Read by the harness first, and asked of a space.
    Target("why-key", within.key, (InvalidKey, Malformed), within.KEYS, time_factor=4, inputs=500),
)

BY_NAME: Final = {target.name: target for target in TARGETS}
