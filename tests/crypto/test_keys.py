"""Keys are determined by the seed, the space and their purpose, and no two purposes or spaces share one."""

import random

from driftlog._core.genesis import Invite
from driftlog._crypto.keys import SigningKey, SpaceKeys, access_key, commitment, epoch_id, found_space, is_for
from tests.vectors import formats


def founded(seed: int) -> tuple[SpaceKeys, bytes]:
    genesis, epoch_key = found_space(b"s" * 32, random.Random(seed).randbytes)
    return SpaceKeys.of(b"s" * 32, genesis, epoch_key), epoch_key


def test_the_same_seed_in_the_same_space_gives_the_same_keys() -> None:
    assert founded(1) == founded(1)


def test_no_two_spaces_purposes_or_devices_share_a_key() -> None:
    public: set[bytes] = set()
    for seed in range(20):
        genesis, epoch_key = found_space(b"s" * 32, random.Random(seed).randbytes)
        for device in range(5):
            keys = SpaceKeys.of(bytes([device]) * 32, genesis, epoch_key)
            assert keys.access.public == genesis.access_key
            public.add(keys.device_key)
        public |= {genesis.root_key, genesis.access_key}
    assert len(public) == 20 * (5 + 2)


def test_the_epoch_key_is_committed_to_as_a_second_hasher_does() -> None:
    keys, epoch_key = founded(2)
    assert commitment(epoch_key) == formats.blake("driftlog epoch 1", epoch_key)
    assert keys.epoch == epoch_id(epoch_key) == commitment(epoch_key)[:8]


def test_an_invite_whose_key_is_not_the_spaces_is_found_out() -> None:
    genesis, epoch_key = found_space(b"s" * 32, random.Random(3).randbytes)
    assert is_for(Invite("app", genesis, epoch_key))
    for at in range(32):
        assert not is_for(Invite("app", genesis, formats.altered(epoch_key, at, lambda byte: byte ^ 1)))


def test_no_secret_shows_in_a_repr() -> None:
    keys, epoch_key = founded(4)
    shown = f"{keys!r} {keys.device!r} {keys.access!r}"
    for secret in (epoch_key, keys.device.secret[:32], keys.access.secret[:32], access_key(epoch_key).secret[:32]):
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown


def test_a_signature_is_by_its_key_over_its_message() -> None:
    rng = random.Random(5)
    for _ in range(50):
        key, message = SigningKey.of_seed(rng.randbytes(32)), rng.randbytes(rng.randrange(100))
        assert len(key.sign(message)) == 64
        assert key.sign(message) == key.sign(message)
