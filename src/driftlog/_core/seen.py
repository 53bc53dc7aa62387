"""An event that says nothing but that its device is here: what it had seen by then, it will never again precede.

A device that only reads would hold back for ever what is settled, because nobody could know that it has nothing earlier to
say. So it appends this, an event like any other, whose stamp is after all it has taken in. It changes no view.
"""

from typing import Final

from driftlog._core.event import RESERVED_PREFIX, Record

SEEN: Final = f"{RESERVED_PREFIX}seen"
SEEN_VERSION: Final = 1
SEEN_PAYLOAD: Final = b"\x80"
"""An empty map: a later version may say more."""


def is_seen(record: Record) -> bool:
    """Tell whether an event is such a one, of the version that this Driftlog knows."""
    return record.name == SEEN and record.marked_version == SEEN_VERSION
