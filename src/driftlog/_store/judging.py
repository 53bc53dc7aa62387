"""The judge: what becomes of an event in its place, given the view as the events before it left it.

Held events are not its matter: whose time has come is decided before. It knows which events are undone, because those are
skipped, and remembers that from one event to the next.
"""

import logging
from collections.abc import Sequence
from typing import Final

from driftlog._core.clock import Timestamp
from driftlog._core.event import Event, Record
from driftlog._core.retraction import is_control, is_retracting, named_by, retracted_by
from driftlog._core.seen import is_seen
from driftlog._core.statement import is_statement, stated_by
from driftlog._core.values import FLOAT_MARKER, OutsideDomain, check_payload
from driftlog._store.log import APPLIED, REJECTED, RETRACTED, UNKNOWN, Log, Outcome
from driftlog._store.program import Program, Rejection
from driftlog._store.reading import read_event
from driftlog._store.view import Effect, Guard, View

_log = logging.getLogger("driftlog")

_UNKNOWN: Final[Outcome] = (UNKNOWN, None, None, None)
_RETRACTED: Final[Outcome] = (RETRACTED, None, None, None)
_IN_FORCE: Final[Outcome] = (APPLIED, None, None, None)


class Judge:
    """Applies events to one view, each in its place."""

    def __init__(self, log: Log, view: View, program: Program) -> None:
        self._log = log
        self._view = view
        self._readings = program.readings
        self._is_float_allowed = program.is_float_allowed
        self._retracted: frozenset[Timestamp] | None = None

    def retracted(self) -> frozenset[Timestamp]:
        """Give the events that are undone."""
        if self._retracted is None:
            self._retracted = retracted_by(self._log.controls())
        return self._retracted

    def take_note(self, arrived: Sequence[tuple[Timestamp, Record]]) -> frozenset[Timestamp]:
        """Take note of undos and redos, and give the events whose retraction they change."""
        controls = [(at, record) for at, record in arrived if is_retracting(record)]
        if not controls:
            return frozenset()
        before = self.retracted()
        self._retracted = retracted_by(self._log.controls() + controls)
        return before ^ self._retracted

    def forget(self) -> None:
        """Forget what is remembered of the log."""
        self._retracted = None

    def apply_new(self, event: Event, at: Timestamp, record: Record) -> Effect:
        """Apply an event that is made here. A `Rejection` leaves it to the caller to undo what was begun."""
        materializer = self._readings[record.name, record.marked_version]
        return self._view.apply(materializer, event, at, record.wall_ms, guard=Guard.CALLER)

    def outcome(self, at: Timestamp, record: Record, guard: Guard) -> Outcome:
        """Apply an event, and say what became of it."""
        # What is the engine's own is no app's: no materializer bears such a name.
        materializer = self._readings.get((record.name, record.marked_version))
        if materializer is None and is_control(record):
            return _outcome_of_control(record)
        retracted = self._retracted if self._retracted is not None else self.retracted()
        if retracted and at in retracted:
            return _RETRACTED
        if materializer is None:
            return _UNKNOWN
        # Envelopes let floats through, because a relay's devices may know other apps' types; the app's own line is here.
        # The marker's byte is rare enough elsewhere to spare nearly every event the full check. What an upgrade gives is
        # checked where it is made: an app may have given up floats by an upgrade.
        is_checked = self._is_float_allowed or FLOAT_MARKER not in record.payload or materializer.upgrades
        if not is_checked and _holds_float(record.payload):
            return REJECTED, "it holds a float, which the app is not declared with", None, None
        try:
            event = read_event(materializer, record, is_float_allowed=self._is_float_allowed)
        except Rejection as rejection:
            _log.warning("a %s was rejected: %s", record.name, rejection.reason, exc_info=rejection.__cause__)
            return REJECTED, rejection.reason, None, None
        try:
            undo, touch = self._view.apply(materializer, event, at, record.wall_ms, guard=guard)
        except Rejection as rejection:
            return REJECTED, rejection.reason, None, rejection.touch
        return APPLIED, None, undo, touch


def _holds_float(payload: bytes) -> bool:
    try:
        check_payload(payload, is_float_allowed=False)
    except OutsideDomain:
        return True
    return False


def _outcome_of_control(record: Record) -> Outcome:
    if is_seen(record) or stated_by(record) is not None:
        return _IN_FORCE
    if is_statement(record):
        return REJECTED, f"{record.name} states no digest", None, None
    if not is_retracting(record):
        return _UNKNOWN
    if named_by(record) is None:
        return REJECTED, f"{record.name} names no events", None, None
    return _IN_FORCE
