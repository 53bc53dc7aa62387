"""The vectors hold: what is declared valid is read as declared, what is declared refused is refused."""

import json
from typing import Any

import pytest

from driftlog._core.batch import Batch, decode_batch, encode_batch
from driftlog._core.clock import Hlc
from driftlog._core.event import Record, place
from driftlog._core.genesis import Genesis, Invite
from driftlog._core.ids import BatchSeq, DeviceKey, EnvelopeHash, EpochId, SpaceId
from driftlog._core.limits import CRITICAL_BIT
from driftlog._core.version_vector import Head, VersionVector
from driftlog._core.wire import Malformed
from driftlog._crypto.keys import SigningKey, SpaceKeys, commitment
from driftlog._crypto.seal import receive, unseal
from driftlog._crypto.verify import is_signed
from driftlog.errors import InvalidEnvelope, InvalidInvite
from tests.vectors.make import EPOCH_KEY, FILES, FOLDER, SPACE, text_of


def committed(file: str, outcome: str) -> list[Any]:
    """Give the vectors of one outcome as test parameters. `Any`: they are JSON, and each test knows its own shape."""
    content = json.loads((FOLDER / file).read_text(encoding="utf-8"))
    return [pytest.param(vector, id=vector["name"]) for vector in content["vectors"] if vector["outcome"] == outcome]


@pytest.mark.parametrize("file", FILES)
def test_the_committed_vectors_are_the_ones_that_the_script_writes(file: str) -> None:
    assert (FOLDER / file).read_text(encoding="utf-8") == text_of(file)


def check_content(batch: Batch, vector: dict[str, Any], device: DeviceKey) -> None:
    assert batch.records == tuple(
        Record(Hlc(hlc), wall_ms, name, version | (CRITICAL_BIT if is_critical else 0), bytes.fromhex(payload))
        for hlc, wall_ms, name, version, is_critical, payload, _ in vector["events"]
    )
    hashes = [place(SpaceId(SPACE), device, record).event_hash.hex() for record in batch.records]
    assert hashes == [event[-1] for event in vector["events"]]
    assert batch.heads == heads_of(vector)


def heads_of(vector: dict[str, Any]) -> tuple[tuple[DeviceKey, Head], ...]:
    return tuple(
        (DeviceKey(bytes.fromhex(device)), Head(BatchSeq(number), EnvelopeHash(bytes.fromhex(hashed))))
        for device, number, hashed in vector["heads"]
    )


def author() -> DeviceKey:
    content = json.loads((FOLDER / "batch.json").read_text(encoding="utf-8"))
    return DeviceKey(bytes.fromhex(content["device"]))


@pytest.mark.parametrize("vector", committed("batch.json", "valid"))
def test_a_valid_batch_says_what_is_declared_and_has_this_one_form(vector: dict[str, Any]) -> None:
    plain = bytes.fromhex(vector["plain"])
    batch = decode_batch(plain)
    check_content(batch, vector, author())
    assert encode_batch(batch) == plain


@pytest.mark.parametrize("vector", committed("batch.json", "refused"))
def test_a_refused_batch_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        decode_batch(bytes.fromhex(vector["plain"]))


def reader() -> SpaceKeys:
    """Give a member's keys: another device than the vectors' author."""
    signing = SigningKey.of_seed(bytes(32))
    return SpaceKeys(signing, signing, EPOCH_KEY, EpochId(commitment(EPOCH_KEY)[:8]), SpaceId(SPACE))


@pytest.mark.parametrize("vector", committed("envelope.json", "valid"))
def test_a_valid_envelope_is_let_in_and_says_what_is_declared(vector: dict[str, Any]) -> None:
    envelope = receive(bytes.fromhex(vector["raw"]), reader())
    assert envelope.header.device.hex() == vector["device"]
    assert envelope.header.batch_seq == vector["number"]
    assert envelope.header.previous.hex() == vector["previous"]
    assert envelope.hash.hex() == vector["hash"]
    check_content(unseal(envelope, reader()), vector, envelope.header.device)


@pytest.mark.parametrize("vector", committed("envelope.json", "refused"))
def test_a_refused_envelope_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(InvalidEnvelope):
        unseal(receive(bytes.fromhex(vector["raw"]), reader()), reader())


@pytest.mark.parametrize("vector", committed("genesis.json", "valid"))
def test_a_valid_genesis_says_what_is_declared_and_has_this_one_form(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["data"])
    genesis = Genesis.decode(data)
    assert genesis.root_key.hex() == vector["root_key"]
    assert genesis.access_key.hex() == vector["access_key"]
    assert genesis.epoch_commitment == commitment(bytes.fromhex(vector["epoch_key"]))
    assert genesis.salt.hex() == vector["salt"]
    assert (genesis.space.hex(), genesis.epoch.hex()) == (vector["space"], vector["epoch"])
    assert genesis.encode() == data


@pytest.mark.parametrize("vector", committed("genesis.json", "refused"))
def test_a_refused_genesis_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        Genesis.decode(bytes.fromhex(vector["data"]))


@pytest.mark.parametrize("vector", committed("invite.json", "valid"))
def test_a_valid_invite_says_what_is_declared_and_has_this_one_form(vector: dict[str, Any]) -> None:
    invite = Invite.parse(vector["link"])
    assert invite.app_name == vector["app_name"]
    assert (invite.genesis.space, invite.epoch_key) == (SPACE, EPOCH_KEY)
    assert invite.link() == vector["link"]


@pytest.mark.parametrize("vector", committed("invite.json", "refused"))
def test_a_refused_invite_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(InvalidInvite):
        Invite.parse(vector["link"])


@pytest.mark.parametrize("vector", committed("version_vector.json", "valid"))
def test_a_valid_version_vector_says_what_is_declared_and_has_this_one_form(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["data"])
    decoded = VersionVector.decode(data)
    assert tuple(decoded.flat()) == heads_of(vector)
    assert decoded.digest().hex() == vector["digest"]
    assert decoded.encode() == data


@pytest.mark.parametrize("vector", committed("version_vector.json", "refused"))
def test_a_refused_version_vector_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        VersionVector.decode(bytes.fromhex(vector["data"]))


@pytest.mark.parametrize("vector", committed("ed25519.json", "valid"))
def test_a_valid_signature_is_accepted(vector: dict[str, Any]) -> None:
    assert is_signed(*(bytes.fromhex(vector[part]) for part in ("message", "signature", "key")))


@pytest.mark.parametrize("vector", committed("ed25519.json", "refused"))
def test_a_refused_signature_is_refused(vector: dict[str, Any]) -> None:
    assert not is_signed(*(bytes.fromhex(vector[part]) for part in ("message", "signature", "key")))
