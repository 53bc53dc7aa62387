"""What is found wrong in a file, and what mends it."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a file that is not as it was written."""

    part: str
    """Where: structure, fact, envelope, event, outcome, view, chain or schema."""
    problem: str
    remedy: str


REBUILDS: Final = "repair makes it anew from the log"
FETCHED: Final = "repair drops it, and it is fetched again from a relay or another device"
KEPT: Final = "repair keeps what can be read; what was in no envelope yet and cannot be is lost"
LOST: Final = "it was in no envelope yet, so nobody else has it: it is lost, and repair drops it"
