"""Write the vectors: `python -m tests.vectors.make`. They were made once, and what was once valid stays valid.

Everything comes from fixed bytes and from `formats`, the second implementation, so the files say what the format is and
not what the engine happens to do. A change of a format adds vectors; a test fails when an old one changes.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from nacl import bindings

from tests.vectors import edwards, formats
from tests.vectors.formats import Author, Entry, altered
from tests.vectors.msgpack import pack
from tests.vectors.signatures import signatures

FOLDER = Path(__file__).parent
Vector = dict[str, object]

NOW = 1_750_000_000_000
EPOCH_KEY = b"driftlog vector's first epoch ke"
ROOT, _ = bindings.crypto_sign_seed_keypair(b"driftlog vector's root key, seed")
ACCESS, _ = bindings.crypto_sign_seed_keypair(b"driftlog vector's access key sd.")
GENESIS = formats.write_genesis(ROOT, ACCESS, EPOCH_KEY, b"a space's salt..")
SPACE = formats.blake("driftlog space 1", GENESIS)
AUTHOR = Author.of_seed(b"driftlog vector's device's seed.", SPACE, EPOCH_KEY)

ADDED = Entry(NOW << 16, NOW, "todo.added", 1, pack({"id": "1", "text": "Milch für Zoë 🥛"}))
DONE = Entry((NOW << 16) + 1, NOW + 7, "todo.done", 2, pack({"id": "1"}))
EARLY = Entry(1, -1, "e", 1, pack({}))
EVERY_KIND = Entry(
    (NOW + 5) << 16 | 0xFFFF,
    -(2**62),
    "kinds",
    0x7FFF,
    pack({"n": None, "t": True, "i": [-(2**63), 2**63 - 1, -32, -33, 127, 128], "f": -0.0, "b": b"\0", "m": {"": ""}}),
    is_critical=True,
)
LOWERED = Entry((NOW + 6) << 16, NOW + 6, "limit.lowered", 1, pack({"limit": 7}), is_critical=True)
HEAD_A, HEAD_B = (b"a" * 32, 3, b"h" * 32), (b"b" * 32, 300, b"i" * 32)
FORK = (b"a" * 32, 3, b"i" * 32)


def valid(name: str, **content: object) -> Vector:
    return {"name": name, "outcome": "valid", **content}


def refused(name: str, **content: object) -> Vector:
    return {"name": name, "outcome": "refused", **content}


def heads_of(heads: tuple[formats.Head, ...]) -> list[list[object]]:
    return [[device.hex(), number, hashed.hex()] for device, number, hashed in heads]


def entries_of(entries: tuple[Entry, ...]) -> list[list[object]]:
    """Spell out each event with its hash, as a device of `SPACE` whose key is `AUTHOR`'s would log it."""
    return [
        [*entry[:4], entry.is_critical, entry.payload.hex(), formats.event_hash(SPACE, AUTHOR.public, entry).hex()]
        for entry in entries
    ]


def batches() -> Iterator[Vector]:
    contents: dict[str, tuple[tuple[Entry, ...], tuple[formats.Head, ...]]] = {
        "one event": ((ADDED,), ()),
        "two types": ((ADDED, DONE), ()),
        "the first stamp of all": ((EARLY,), ()),
        "every kind of value, and the ends of every range": ((EVERY_KIND,), ()),
        "heads, one device forked": ((DONE,), (HEAD_A, FORK, HEAD_B)),
        "a type used twice": ((ADDED, DONE, DONE._replace(hlc=DONE.hlc + 2**40, wall_ms=0)), ()),
        "a critical type": ((LOWERED,), ()),
        "one type, at first not critical": ((LOWERED._replace(hlc=1, is_critical=False), LOWERED), ()),
        "past the padding's floor": ((ADDED._replace(payload=pack({"b": b"x" * 300})),), ()),
    }
    for name, (entries, heads) in contents.items():
        plain = formats.write_batch(entries, heads)
        yield valid(name, plain=plain.hex(), events=entries_of(entries), heads=heads_of(heads))
    good = formats.write_batch((ADDED, DONE))
    length = int.from_bytes(good[:4], "big")
    bad = {
        "another version": altered(good, 4, lambda _: 2),
        "a padding byte that is not zero": altered(good, -1 % len(good), lambda _: 1),
        "a length that leaves out the last byte": altered(good, 3, lambda byte: byte - 1),
        "a length that takes in padding": altered(good, 3, lambda byte: byte + 1),
        "padded to the next size": good + bytes(16),
        "cut to below the floor": good[:255],
        "a count of heads in a longer form": formats.padded((length + 1).to_bytes(4, "big") + b"\1\x80\0" + good[6:]),
        "heads out of order": formats.write_batch((DONE,), (HEAD_B, HEAD_A)),
        "a head twice": formats.write_batch((DONE,), (HEAD_A, HEAD_A)),
        "event version 0": formats.write_batch((ADDED._replace(version=0),)),
        "critical event version 0": formats.write_batch((LOWERED._replace(version=0),)),
        "an event version past 16 bits": formats.write_batch((ADDED._replace(version=0x10000),)),
        "an event name with a line break": formats.write_batch((ADDED._replace(name="a\nb"),)),
        "a payload that is a list": formats.write_batch((ADDED._replace(payload=pack([1])),)),
        "a payload with an integer in a longer form": formats.write_batch(
            (ADDED._replace(payload=b"\x81\xa1k\xcc\1"),)
        ),
        "a payload with NUL in text": formats.write_batch((ADDED._replace(payload=pack({"k": "a\0"})),)),
        "a payload with NaN": formats.write_batch((ADDED._replace(payload=pack({"k": float("nan")})),)),
    }
    for name, plain in bad.items():
        yield refused(name, plain=plain.hex())


def envelopes() -> Iterator[Vector]:
    previous = bytes(32)
    for number, entries in enumerate(((ADDED,), (DONE,), (EVERY_KIND,)), 1):
        nonce = formats.blake("driftlog vector", bytes([number]))[:24]
        heads = (HEAD_A, HEAD_B) if number == 2 else ()
        raw, hashed = formats.write_envelope(AUTHOR, number, previous, formats.write_batch(entries, heads), nonce)
        yield valid(
            f"number {number} of a chain",
            raw=raw.hex(),
            device=AUTHOR.public.hex(),
            number=number,
            previous=previous.hex(),
            hash=hashed.hex(),
            events=entries_of(entries),
            heads=heads_of(heads),
        )
        previous = hashed
    plain = formats.write_batch((ADDED,))
    good, _ = formats.write_envelope(AUTHOR, 1, bytes(32), plain)
    stranger = Author.of_seed(b"s" * 32, SPACE, EPOCH_KEY)
    bad = {
        **{
            f"{part} altered": altered(good, at, lambda byte: byte ^ 0x40)
            for part, at in {
                "version": 0, "suite": 1, "space": 2, "epoch": 34, "device": 42, "number": 74, "predecessor": 82,
                "nonce": 114, "size": 138, "sealed part": 142, "tag": -65, "R": -64, "S": -1,
            }.items()
        },
        "cut by a byte": good[:-1],
        "a byte longer": good + b"\0",
        "another space": formats.write_envelope(AUTHOR._replace(space=b"s" * 32), 1, bytes(32), plain)[0],
        "another epoch's key": formats.write_envelope(AUTHOR._replace(epoch_key=b"k" * 32), 1, bytes(32), plain)[0],
        "signed by another device": formats.write_envelope(AUTHOR._replace(secret=stranger.secret), 1, bytes(32), plain)[0],
        "number 2 without a predecessor": formats.write_envelope(AUTHOR, 2, bytes(32), plain)[0],
        "number 1 with a predecessor": formats.write_envelope(AUTHOR, 1, b"p" * 32, plain)[0],
        "a batch that is not one": formats.write_envelope(AUTHOR, 1, bytes(32), bytes(256))[0],
        "a batch below the floor": formats.write_envelope(AUTHOR, 1, bytes(32), plain[:200])[0],
    }  # fmt: skip
    for name, raw in bad.items():
        yield refused(name, raw=raw.hex())


def geneses() -> Iterator[Vector]:
    yield valid(
        "a genesis",
        data=GENESIS.hex(),
        root_key=ROOT.hex(),
        access_key=ACCESS.hex(),
        epoch_key=EPOCH_KEY.hex(),
        salt=GENESIS[-16:].hex(),
        space=SPACE.hex(),
        epoch=formats.blake("driftlog epoch 1", EPOCH_KEY)[:8].hex(),
    )
    yield refused("no bytes", data="")
    yield refused("another version", data=altered(GENESIS, 0, lambda _: 2).hex())
    yield refused("another suite", data=altered(GENESIS, 1, lambda _: 2).hex())
    yield refused("cut by a byte", data=GENESIS[:-1].hex())
    yield refused("a byte longer", data=(GENESIS + b"\0").hex())


def invites() -> Iterator[Vector]:
    for app_name in ("org.example.todos", "z", "ü" * 127):
        link = formats.write_invite(GENESIS, EPOCH_KEY, app_name)
        yield valid(f"an app name of {len(app_name)}", link=link, app_name=app_name)
    link = formats.write_invite(GENESIS, EPOCH_KEY, "org.example.todos")
    head, secret = link.split("#")
    yield refused("another scheme", link=f"https://join#{secret}")
    yield refused("no secret", link=f"{head}#")
    yield refused("cut by a character", link=link[:-1])
    yield refused("cut in half", link=link[: len(link) // 2])
    yield refused("two characters swapped", link=link[:100] + link[101] + link[100] + link[102:])
    yield refused("in lower case", link=link.lower())
    yield refused("another version", link=f"{head}#Ag{secret[2:]}")
    yield refused("an app name too long", link=formats.write_invite(GENESIS, EPOCH_KEY, "x" * 256))


def version_vectors() -> Iterator[Vector]:
    for name, heads in {"nobody": (), "two devices": (HEAD_A, HEAD_B), "a fork": (HEAD_A, FORK, HEAD_B)}.items():
        data = formats.write_vector(heads)
        yield valid(
            name, data=data.hex(), heads=heads_of(heads), digest=formats.blake("driftlog vector", data)[:16].hex()
        )
    good = formats.write_vector((HEAD_A, HEAD_B))
    yield refused("another version", data=altered(good, 0, lambda _: 2).hex())
    yield refused("cut by a byte", data=good[:-1].hex())
    yield refused("a byte longer", data=(good + b"\0").hex())
    yield refused("out of order", data=formats.write_vector((HEAD_B, HEAD_A)).hex())
    yield refused("a head twice", data=formats.write_vector((HEAD_A, HEAD_A)).hex())
    yield refused("number 0", data=formats.write_vector(((HEAD_A[0], 0, HEAD_A[2]),)).hex())
    yield refused("a count in a longer form", data=(b"\1\x80\0").hex())


def ed25519() -> Iterator[Vector]:
    for name, is_valid, key, message, signature in signatures():
        assert edwards.is_valid(message, signature, key) == is_valid, name
        make = valid if is_valid else refused
        yield make(name, key=key.hex(), message=message.hex(), signature=signature.hex())


FILES = {
    "batch.json": batches,
    "envelope.json": envelopes,
    "genesis.json": geneses,
    "invite.json": invites,
    "version_vector.json": version_vectors,
    "ed25519.json": ed25519,
}
SHARED: Vector = {"space": SPACE.hex(), "epoch_key": EPOCH_KEY.hex(), "device": AUTHOR.public.hex()}


def text_of(name: str) -> str:
    """Give the text of a vector file."""
    vectors = list(FILES[name]())
    names = [vector["name"] for vector in vectors]
    assert len(set(names)) == len(names), "a vector's name is its address"
    content = {"made_by": "python -m tests.vectors.make", **SHARED, "vectors": vectors}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for file in FILES:
        (FOLDER / file).write_text(text_of(file), encoding="utf-8")
