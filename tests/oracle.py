"""The judge: what a set of envelopes must amount to, by the most naive means there are.

Envelopes are opened by `tests/vectors/formats.py`, chains are followed by their hashes, and the view is a fold from empty
over the whole log in its total order, each time anew. Nothing is rewound, cached between folds, or taken from the engine.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tests.models import Model, Tables
from tests.models_tree import MODELS
from tests.programs import Did, DidAgain, DidLately, Variant
from tests.vectors import formats
from tests.vectors.formats import Entry, Opened

DAY_MS = 24 * 60 * 60 * 1000

Place = tuple[int, bytes, bytes]
"""Stamp, device, event hash: the total order is the order of these."""

KNOWN = {(kind.event_name, kind.event_version) for kind in (Did, DidAgain)}
KNOWN_LATELY = KNOWN | {(DidLately.event_name, DidLately.event_version)}


CONTROLS = ("driftlog.undone", "driftlog.redone")


class Line(NamedTuple):
    """An event in its place in the log, and what became of it."""

    place: Place
    state: str
    reason: str | None
    """Set where the handler states it; what SQLite says is not the oracle's to know."""


class Verdict(NamedTuple):
    """What a device must show."""

    tables: Tables
    log: tuple[Line, ...]
    cascades: int

    def rejected(self) -> frozenset[Place]:
        """Give the rejected events."""
        return frozenset(line.place for line in self.log if line.state == "rejected")


def fold(
    variant: Variant,
    facts: Mapping[Place, Entry],
    placed: Iterable[Place],
    known: set[tuple[str, int]] = KNOWN_LATELY,
    skipped: set[Place] | None = None,
) -> Verdict:
    """Fold a log from empty. What is in `facts` and not in `placed` is held; `skipped` is undone, if not by `facts`."""
    model = Model(variant)
    placed = set(placed)
    if skipped is None:
        skipped = undone(facts, placed)
    log = []
    for place, entry in sorted(facts.items()):
        if place not in placed:
            log.append(Line(place, "held", None))
        elif entry.name.startswith("driftlog."):
            is_known = entry.name in CONTROLS and entry.version == 1
            state = "unknown" if not is_known else "applied" if named_by(entry) else "rejected"
            log.append(Line(place, state, None))
        elif place in skipped:
            log.append(Line(place, "retracted", None))
        elif (entry.name, entry.version) not in known:
            log.append(Line(place, "unknown", None))
        else:
            log.append(_judged(model, place, entry))
    return Verdict(model.tables, tuple(log), model.cascades)


def undone(facts: Mapping[Place, Entry], placed: set[Place]) -> set[Place]:
    """Give the events that undos and redos leave undone: of those that name an event, the last one counts."""
    found: dict[Place, bool] = {}
    for place, entry in sorted(facts.items()):
        if place in placed and entry.name in CONTROLS and entry.version == 1:
            found |= dict.fromkeys((one for one in named_by(entry) if one < place), entry.name == "driftlog.undone")
    return {place for place, is_undone in found.items() if is_undone}


def named_by(entry: Entry) -> list[Place]:
    """Give the events that an undo or redo names, none if it is malformed."""
    fields = entry.fields()
    named = fields.get("events")
    if set(fields) != {"events"} or not isinstance(named, list) or not 0 < len(named) <= 1000:
        return []
    if any(not isinstance(one, bytes) or len(one) != 72 for one in named):
        return []
    return [(int.from_bytes(one[:8], "big"), one[8:40], one[40:]) for one in named]


def _judged(model: Model, place: Place, entry: Entry) -> Line:
    steps = steps_of(entry)
    if steps is None:
        return Line(place, "rejected", None)
    refused = model.apply(place[0], place[2], entry.wall_ms, steps)
    return Line(place, "applied", None) if refused is None else Line(place, "rejected", refused.reason)


def steps_of(entry: Entry) -> list[list[Any]] | None:
    """Give an event's steps, None if its payload is not what its type declares or its handler could not even begin."""
    steps = entry.fields().get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, list) for step in steps):
        return None
    if any(type(part) not in (str, int, type(None)) for step in steps for part in step):
        return None
    return steps if all(step and step[0] in MODELS for step in steps) else None


class Witness:
    """What one device has been given and has made: the envelopes, the events in them that count, and those not held.

    An envelope counts once its whole chain is there. An event is void if its stamp does not follow its chain's previous
    ones; on a fork each branch is a chain of its own, and what counts on one branch counts.
    """

    def __init__(self, device: bytes, space: bytes, epoch_key: bytes) -> None:
        self.device = device
        self.facts: dict[Place, Entry] = {}
        self.placed: set[Place] = set()
        self.counts: Counter[str] = Counter()
        self._space = space
        self._epoch_key = epoch_key
        self._waiting: dict[bytes, Opened] = {}
        self._chained: dict[bytes, Opened] = {}
        self._last_hlc: dict[bytes, int] = {}
        """The greatest stamp of the chain that ends with this envelope, by its hash."""

    def copy(self) -> "Witness":
        """Give another witness of the same, for a device that was copied."""
        other = Witness(self.device, self._space, self._epoch_key)
        other.facts, other.placed = dict(self.facts), set(self.placed)
        other._waiting, other._chained = dict(self._waiting), dict(self._chained)
        other._last_hlc = dict(self._last_hlc)
        return other

    def make(self, entry: Entry) -> Place:
        """Note an event that the device made itself: it is never held there."""
        place = (entry.hlc, self.device, formats.event_hash(self._space, self.device, entry))
        self.facts[place] = entry
        self.placed.add(place)
        return place

    def learn(self, envelopes: Iterable[bytes], now_ms: int) -> int:
        """Take in authentic envelopes, any number of times in any order. Say how many events came late."""
        last = max(self.placed, default=(0, b"", b""))
        before = set(self.placed)
        for raw in envelopes:
            _, _, _, hashed = formats.place_of(raw)
            if hashed not in self._last_hlc and hashed not in self._waiting:
                self._waiting[hashed] = formats.open_envelope(raw, self._epoch_key)
        while ready := [one for one in self._waiting.values() if self._previous(one) is not None]:
            for one in ready:
                self._chain(self._waiting.pop(one.hash))
        self.settle(now_ms)
        return sum(place < last for place in self.placed - before)

    def settle(self, now_ms: int) -> None:
        """Let what is no longer too far ahead of the device's clock take its place. What has its place keeps it."""
        for place in self.facts.keys() - self.placed:
            hlc, device, _ = place
            if device == self.device or hlc // 65536 <= now_ms + DAY_MS:
                self.placed.add(place)

    def undone(self) -> set[Place]:
        """Give the events that are undone."""
        return undone(self.facts, self.placed)

    def verdict(self, variant: Variant, *, is_new: bool = True) -> Verdict:
        """Say what the device must show."""
        return fold(variant, self.facts, self.placed, KNOWN_LATELY if is_new else KNOWN)

    def waiting(self) -> int:
        """Say how many envelopes wait for a predecessor."""
        return len(self._waiting)

    def heads(self) -> set[tuple[bytes, int, bytes]]:
        """Give the ends of all chains: what a version vector must say."""
        continued = {one.previous for one in self._chained.values()}
        return {(one.device, one.number, one.hash) for one in self._chained.values() if one.hash not in continued}

    def _previous(self, one: Opened) -> int | None:
        if one.number == 1:
            return 0
        before = self._chained.get(one.previous)
        if before is None or (before.device, before.number) != (one.device, one.number - 1):
            return None
        return self._last_hlc[one.previous]

    def _chain(self, one: Opened) -> None:
        last = self._previous(one)
        assert last is not None
        self._chained[one.hash] = one
        for entry in one.entries:
            if entry.hlc <= last:
                self.counts["void"] += 1
                continue
            self.facts.setdefault((entry.hlc, one.device, formats.event_hash(self._space, one.device, entry)), entry)
        self._last_hlc[one.hash] = max(last, *(entry.hlc for entry in one.entries))
