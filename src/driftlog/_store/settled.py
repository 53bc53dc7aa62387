"""Settled: up to where the order has ended, because every known device has been heard from past it.

A device's stamps only grow along its chain, so whoever holds a chain up to a stamp has every event of that branch up to it.
What is settled is the least of these ends, over all branches of all devices. This device's own end is the last event it has
placed, which its next stamp will follow. Three things hold it back besides:

- a held event is known, but has not taken its place yet;
- a waiting envelope of an unknown device, or of an unknown branch, says that there is a chain of which nothing is held;
- another branch of this device's own key is another device's, whatever the key says.

Nothing is said of devices that nobody here has ever heard of, and of branches that have not shown themselves.
"""

from collections import defaultdict
from typing import NamedTuple

import apsw

from driftlog._core.clock import Timestamp
from driftlog._core.ids import DeviceKey, EnvelopeHash
from driftlog._core.limits import HLC_MAX
from driftlog._sqlite.rows import raw_rows
from driftlog._store.log import Log
from driftlog._store.meta import Meta

_HEADS = "SELECT device, hash, batch_seq, last_hlc FROM driftlog_head"
_WAITING = "SELECT device, min(batch_seq) FROM driftlog_envelope WHERE is_chained = 0 GROUP BY device"


class Horizon(NamedTuple):
    """How far every device has been heard."""

    hlc: int
    """No event with this stamp or an earlier one can still take its place."""
    held_back_by: DeviceKey | None
    """The device that must be heard from next; None if all that is placed is settled."""
    heard_by_device: dict[DeviceKey, int]
    """Up to which stamp each is held, all its branches: 0 if there is one of which nothing is."""


class _End(NamedTuple):
    hash: EnvelopeHash
    batch_seq: int
    last_hlc: int


def horizon(connection: apsw.Connection, own: DeviceKey) -> Horizon:
    """Read it from one state of the file: a handful of queries, and a row for each device."""
    log, branch = Log(connection), Meta(connection).own_branch()
    last = log.last_placed()
    own_hlc = max(last.hlc if last is not None else 0, branch.last_hlc)
    ends: dict[DeviceKey, list[_End]] = defaultdict(list)
    for device, hash_, batch_seq, last_hlc in raw_rows(connection, _HEADS):
        ends[device].append(_End(hash_, batch_seq, last_hlc))
    waiting: dict[DeviceKey, int] = dict(raw_rows(connection, _WAITING))
    if own in ends and own not in waiting:
        # The branch that this device writes does not end at its head, but at what it will say next.
        ends[own] = [end for end in ends[own] if branch.head is None or end.hash != branch.head.hash]
    heard = {device: _heard(ends.get(device, []), waiting.get(device)) for device in {*ends, *waiting}}
    heard[own] = min(heard.get(own, own_hlc), own_hlc)
    limits = list(heard.items())
    held = log.first_held_entry()
    if held is not None:
        limits.append((held.device, held.hlc - 1))
    device, hlc = min(limits, key=lambda limit: limit[1])
    return Horizon(hlc, device if hlc < own_hlc else None, heard)


def _heard(ends: list[_End], waiting_seq: int | None) -> int:
    """Give the stamp up to which a device is held, from the ends of its branches and the first envelope that waits."""
    # Right after a head nothing waits: it would be chained. So what waits there, or before, is of a branch of its own.
    if waiting_seq is not None and not any(end.batch_seq <= waiting_seq - 2 for end in ends):
        return 0
    # None is left of a device whose one branch is the one that is written here.
    return min((end.last_hlc for end in ends), default=HLC_MAX)


def settled(connection: apsw.Connection, own: DeviceKey) -> Timestamp | None:
    """Give the last event of the settled part of the order."""
    return Log(connection).last_placed_up_to(horizon(connection, own).hlc)
