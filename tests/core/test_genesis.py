"""Genesis and invite: read as written, and refused when cut, altered or something else."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog._core.genesis import GENESIS_BYTES, INVITE_PREFIX, Genesis, Invite
from driftlog._core.names import NAME_BYTES_MAX
from driftlog._core.wire import Malformed
from driftlog.errors import InvalidInvite
from tests.core.drawing import cases, hashes
from tests.vectors import formats

geneses = st.builds(Genesis, hashes, hashes, hashes, st.binary(min_size=16, max_size=16))
app_names = st.text(min_size=1, max_size=40).filter(lambda name: name.isprintable())
invites = st.builds(Invite, app_names, geneses, hashes)

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.mark.slow
@cases(1000)
@given(hashes, hashes, hashes, st.binary(min_size=16, max_size=16))
def test_a_genesis_is_read_as_it_was_written_and_as_a_second_writer_writes_it(
    root: bytes, access: bytes, epoch_key: bytes, salt: bytes
) -> None:
    genesis = Genesis(root, access, formats.blake("driftlog epoch 1", epoch_key), salt)
    data = genesis.encode()
    assert data == formats.write_genesis(root, access, epoch_key, salt)
    assert Genesis.decode(data) == genesis
    assert genesis.space == formats.blake("driftlog space 1", data)
    assert genesis.epoch == formats.blake("driftlog epoch 1", epoch_key)[:8]


@cases(200)
@given(geneses, st.integers(0, GENESIS_BYTES - 1), st.integers(1, 255))
def test_an_altered_genesis_is_another_space_or_none(genesis: Genesis, at: int, change: int) -> None:
    data = genesis.encode()
    other = formats.altered(data, at, lambda byte: byte ^ change)
    if at < 2:
        with pytest.raises(Malformed):
            Genesis.decode(other)
    else:
        assert Genesis.decode(other).encode() == other
        assert Genesis.decode(other).space != genesis.space


def test_every_truncated_or_extended_genesis_is_refused() -> None:
    data = Genesis(b"r" * 32, b"a" * 32, b"c" * 32, b"s" * 16).encode()
    for end in range(len(data)):
        with pytest.raises(Malformed):
            Genesis.decode(data[:end])
    with pytest.raises(Malformed):
        Genesis.decode(data + b"\0")


@pytest.mark.slow
@cases(1000)
@given(invites)
def test_an_invite_is_read_as_it_was_written_and_as_a_second_writer_writes_it(invite: Invite) -> None:
    link = invite.link()
    assert link == formats.write_invite(invite.genesis.encode(), invite.epoch_key, invite.app_name)
    assert Invite.parse(link) == invite
    # People paste it with the space around it.
    assert Invite.parse(f"  {link}\n") == invite


INVITE = Invite(
    "org.example.todos", Genesis(b"r" * 32, b"\xff" * 32, b"\xfb\xef\xbe" * 10 + b"cc", b"s" * 16), b"k" * 32
)


def test_every_cut_of_an_invite_is_refused() -> None:
    link = INVITE.link()
    for end in range(len(link)):
        with pytest.raises(InvalidInvite):
            Invite.parse(link[:end])


def test_every_altered_character_of_an_invite_is_refused() -> None:
    link = INVITE.link()
    rng = random.Random(11)
    for at in range(len(INVITE_PREFIX), len(link)):
        for letter in rng.sample(LETTERS.replace(link[at], ""), 8):
            with pytest.raises(InvalidInvite):
                Invite.parse(link[:at] + letter + link[at + 1 :])


def test_the_last_characters_unused_bits_are_no_second_form_of_an_invite() -> None:
    link = INVITE.link()
    for letter in LETTERS.replace(link[-1], ""):
        with pytest.raises(InvalidInvite):
            Invite.parse(link[:-1] + letter)


def test_an_invite_in_the_other_base64_alphabet_or_padded_is_refused() -> None:
    link = INVITE.link()
    secret = link.removeprefix(INVITE_PREFIX)
    assert "-" in secret
    assert "_" in secret
    for other in (secret.replace("-", "+"), secret.replace("_", "/"), secret + "=" * (-len(secret) % 4 or 4)):
        with pytest.raises(InvalidInvite):
            Invite.parse(INVITE_PREFIX + other)


@pytest.mark.parametrize(
    "link",
    ["", "#", "https://join#AQ", "driftlog://join", "driftlog:/join#AQ", "DRIFTLOG://JOIN#AQ", "AQEBAQ", "x" * 10_000],
)
def test_a_link_with_a_wrong_prefix_is_no_invite_and_is_shown_in_short(link: str) -> None:
    with pytest.raises(InvalidInvite, match="is not an invite") as caught:
        Invite.parse(link)
    assert len(str(caught.value)) < 200


def link_of(content: bytes) -> str:
    return INVITE_PREFIX + formats.in_base64url(content + formats.blake("driftlog invite1", content)[:4])


CONTENT = b"\1" + INVITE.genesis.encode() + INVITE.epoch_key
REFUSED = {
    "nothing after the prefix": (INVITE_PREFIX, "cut short"),
    "no content": (link_of(b""), "."),
    "a version alone": (link_of(b"\1"), "malformed"),
    "version 0": (link_of(b"\0" + CONTENT[1:] + b"\1a"), "version 0"),
    "version 2": (link_of(b"\2" + CONTENT[1:] + b"\1a"), "version 2.*update"),
    "a genesis of version 2": (link_of(b"\1\2" + CONTENT[2:] + b"\1a"), "malformed"),
    "no app name": (link_of(CONTENT), "malformed"),
    "a cut app name": (link_of(CONTENT + b"\2a"), "malformed"),
    "bytes after the app name": (link_of(CONTENT + b"\1ab"), "malformed"),
    "an app name that is not UTF-8": (link_of(CONTENT + b"\1\xff"), "malformed"),
    "an app name too long": (link_of(CONTENT + formats.sized(b"a" * (NAME_BYTES_MAX + 1))), "malformed"),
    "a length in a longer form": (link_of(CONTENT + b"\x81\0a"), "malformed"),
    "a wrong checksum": (INVITE_PREFIX + formats.in_base64url(CONTENT + b"\1a" + bytes(4)), "cut short or altered"),
    "letters outside base64": (INVITE_PREFIX + "AQ*A", "cut short or altered"),
    "letters outside ASCII": (INVITE_PREFIX + "AQéA", "cut short or altered"),
    "a line break inside": (INVITE.link()[:60] + "\n" + INVITE.link()[60:], "cut short or altered"),
}


@pytest.mark.parametrize(("link", "why"), REFUSED.values(), ids=REFUSED)
def test_a_damaged_invite_is_refused_with_what_to_do(link: str, why: str) -> None:
    with pytest.raises(InvalidInvite, match=why):
        Invite.parse(link)
