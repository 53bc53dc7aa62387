"""Devices of one process that exchange what they hold."""

from driftlog import VersionVector
from driftlog.testing import exchange, fleet
from tests.todo_app import TodoAdded, todo_app


def test_two_devices_that_each_hold_every_other_envelope_of_a_chain_come_to_hold_all() -> None:
    """An envelope that waits for its predecessor is not offered: each round of the exchange brings the next one."""
    author, one, other = fleet(todo_app(), 3)
    chain = []
    for number in range(12):
        author.append(TodoAdded(id=str(number), text="milk"))
        chain = list(author.envelopes_for(VersionVector()))
    one.receive(chain[::2])
    other.receive(chain[1::2])

    exchange(one, other)

    assert one.status().waiting_envelopes == other.status().waiting_envelopes == 0
    assert one.digest() == other.digest() == author.digest()
    for space in (author, one, other):
        space.close()
