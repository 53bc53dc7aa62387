"""Where the own chain ends, in a file that may be damaged: no number may be given twice, and no event be forgotten."""

from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple

import apsw

from driftlog._core.version_vector import Head
from driftlog._store.damage import FETCHED
from driftlog._store.facts import DAMAGED_BITS_MAX, bits_differing
from driftlog._store.meta import Branch, Meta

_FOUND: Final = "repair finds it in the envelopes"


class OwnEnvelope(NamedTuple):
    """An envelope of this device that is in the file."""

    last_hlc: int
    is_chained: bool
    """Whether all before it are here, too."""


def own_end(
    source: apsw.Connection,
    there: Mapping[Head, OwnEnvelope],
    loose: Collection[int],
    found: Callable[[str, str, str], None],
) -> tuple[Branch, bool]:
    """Give the end of what this device has sealed, and whether all of it is here.

    `loose` are the stamps of its events that are in no envelope. `found` is told the part, the problem and the remedy of
    what is wrong.
    """
    complete = {head for head, envelope in there.items() if envelope.is_chained}
    newest = max(complete, default=None)
    last_hlc = max((there[head].last_hlc for head in complete), default=0)
    try:
        branch = Meta(source).own_branch()
    except Exception as error:  # noqa: BLE001 - whatever a damaged value is taken for
        found("fact", f"the end of this device's chain is damaged ({error})", _FOUND)
        return Branch(max(there, default=None), last_hlc), max(there, default=None) == newest
    head = branch.head
    if head is not None and head not in complete:
        noted = _damaged_copy_of(head, complete)
        if noted is not None:
            found("fact", "the end of this device's chain is damaged", _FOUND)
            head = noted
        elif _is_missing(head, there, newest) or _is_any_left(loose, 0, max(branch.last_hlc, last_hlc)):
            words = f"of this device's envelopes up to {head.batch_seq}, some are not here"
            found("envelope", words, f"{FETCHED}; until then nothing is sealed")
            return branch, False
    if (head is None) != (newest is None) or (head is not None and head not in complete):
        found("fact", "the end of this device's chain is no envelope of it", _FOUND)
        return Branch(newest, last_hlc), True
    end = there[head].last_hlc if head is not None else 0
    # Where something waits to be sealed behind what another history of the key has said, it is past the own end.
    sealed_hlc = end if _is_any_left(loose, end, last_hlc) else last_hlc
    if branch.last_hlc != sealed_hlc:
        found("fact", "the end of this device's chain has another stamp", _FOUND)
    return Branch(head, sealed_hlc), True


def _is_any_left(loose: Collection[int], after: int, until: int) -> bool:
    """Tell whether there are own events between two stamps that are in no envelope, although later ones may be.

    They were in one that is missing, or wait to follow it. By the number of the chain's end that is not told where the key
    bears two histories, and the other one is here and is longer.
    """
    return any(after < hlc <= until for hlc in loose)


def _damaged_copy_of(head: Head, complete: Collection[Head]) -> Head | None:
    """Give the end of a chain of which this is a copy in which a bit or a few have rotted, of its number or its hash."""
    for each in complete:
        is_near = bits_differing(each.hash, head.hash) <= DAMAGED_BITS_MAX
        if each.hash == head.hash or (each.batch_seq == head.batch_seq and is_near):
            return each
    return None


def _is_missing(head: Head, there: Collection[Head], newest: Head | None) -> bool:
    """Tell the end of a chain of which something is missing from one that was damaged where it is noted."""
    if head in there:
        return True
    is_known = any(head.hash == each.hash for each in there)
    return not is_known and head.batch_seq > (newest.batch_seq if newest is not None else 0)
