"""What rot makes of a space's small facts: one under another name counts as one that was never set.

Without the end of its own chain a device would give numbers twice; without the mark of its effects it would run all of them
again. So a file that holds a name which is none is not opened, and a repair gives it its own again.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final, get_args

import apsw

from driftlog._core.clock import Timestamp
from driftlog._core.limits import HLC_MAX
from driftlog._core.retraction import PLACE_BYTES, decode_place, encode_place
from driftlog._sqlite.rows import raw_rows
from driftlog._store.meta import Fact

# As bytes, because what rot has left of a name need not be text, or even be there.
NAME: Final = "coalesce(CAST(key AS BLOB), x'')"
DAMAGED_BITS_MAX: Final = 8
"""Two keys differ in 128 bits, more or less, two names of one length in nine; one and its damaged copy in few."""

_BY_NAME: Final[dict[bytes, Fact]] = {fact.encode(): fact for fact in get_args(Fact)}
_NAMES: Final = f"SELECT {NAME} FROM driftlog_meta"
_FACTS: Final = f"SELECT {NAME}, value FROM driftlog_meta"


def bits_differing(a: bytes, b: bytes) -> int:
    """Count the bits in which two values differ, the shorter one being filled up with zeros in front."""
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_count()


def misnamed(connection: apsw.Connection) -> bytes | None:
    """Give a name in a file that no fact has, None if there is none.

    A Driftlog that has more facts writes another format.
    """
    return next((name for (name,) in raw_rows(connection, _NAMES) if name not in _BY_NAME), None)


def read_facts(connection: apsw.Connection) -> dict[Fact, Any]:
    """Give the facts in a file, each under the name that it has or must have had."""
    return rightly_named(dict(raw_rows(connection, _FACTS)))[0]


def rightly_named(found: Mapping[bytes, Any]) -> tuple[dict[Fact, Any], list[str]]:
    """Give facts by their names, and for each name that is none what becomes of it."""
    facts: dict[Fact, Any] = {_BY_NAME[name]: value for name, value in found.items() if name in _BY_NAME}
    remedies: list[str] = []
    for name, value in found.items():
        if name not in _BY_NAME:
            meant: list[Fact] = [
                fact for own, fact in _BY_NAME.items() if own not in found and is_damaged_copy(name, own)
            ]
            if len(meant) == 1:
                facts[meant[0]] = value
            remedies.append(f"repair calls it {meant[0]} again" if len(meant) == 1 else "repair drops it")
    return facts, remedies


def decode_mark(mark: bytes) -> Timestamp | None:
    """Read the mark of the effects; None if it can be no event's place."""
    if len(mark) != PLACE_BYTES:
        return None
    place = decode_place(mark)
    return place if place.hlc <= HLC_MAX else None


def mend_mark(facts: dict[Fact, Any], events: Collection[Timestamp]) -> str | None:
    """Let the mark of the effects name an event of the log, and say how; None where it does already.

    The event that it still names by half, else the last before it: what has an effect bears having it twice.
    """
    mark = facts.get("effects")
    if not isinstance(mark, bytes) or decode_mark(mark) in events:
        return None
    if len(mark) == PLACE_BYTES:
        place = decode_place(mark)
        for at in events:
            if at.event_hash == place.event_hash or (at.hlc, at.device) == (place.hlc, place.device):
                facts["effects"] = encode_place(at)
                return "repair finds the event by its hash or its stamp"
        before = max((at for at in events if at < place), default=None) if place.hlc <= HLC_MAX else None
        if before is not None:
            facts["effects"] = encode_place(before)
            return "repair moves it to the last event before it, and effects after that one may run again"
    return "nobody else knows which have run, so none will; join again from another device"


def is_damaged_copy(name: bytes, own: bytes) -> bool:
    """Tell whether a name may be another one in which a bit or a few have rotted."""
    return len(name) == len(own) and bits_differing(name, own) <= DAMAGED_BITS_MAX
