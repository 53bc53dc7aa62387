"""Devices that have heard of one another, for tests of what is settled."""

from collections.abc import Callable
from itertools import count
from os import urandom

from driftlog import Space, Timestamp
from driftlog._core.clock import Hlc
from driftlog._core.version_vector import VersionVector
from driftlog.testing import exchange
from tests.space.test_rejected import APP, Fleet
from tests.todo_app import TodoAdded

NOTHING = VersionVector.of([])


numbers = count()


def milk(space: Space) -> Timestamp:
    """Say something that nobody else says."""
    return space.append(TodoAdded(f"milk {next(numbers)}", "milk"))[0]


def later(timestamp: Timestamp) -> Timestamp:
    return timestamp._replace(hlc=Hlc(timestamp.hlc + (1 << 32)))


def met(n: int, entropy: Callable[[int], bytes] = urandom) -> Fleet:
    """Devices that have all heard of one another."""
    spaces = Fleet(APP, n, entropy)
    for number, _ in enumerate(spaces):
        spaces.says(number, TodoAdded(f"hello {number}", ""))
    share(spaces)
    return spaces


def share(spaces: list[Space]) -> None:
    for _ in range(2):
        for other in spaces[1:]:
            exchange(spaces[0], other)


def timestamps(space: Space) -> set[Timestamp]:
    return {entry.timestamp for entry in space.log() if entry.state != "held"}
