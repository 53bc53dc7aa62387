"""Effects: what is done outside the database for an event, once it is settled that the event counts.

A mark in the file says up to where they have run. It is moved after each effect has returned, never before: a crash in
between runs that effect again, and none is ever left out.
"""

from collections.abc import Callable
from threading import Lock

from driftlog._core.clock import Timestamp
from driftlog._core.event import Event
from driftlog._core.retraction import encode_place
from driftlog._store.facts import decode_mark
from driftlog._store.log import State
from driftlog._store.program import Effect
from driftlog.errors import Corrupt, DriftlogError
from driftlog.space.engine import Engine
from driftlog.space.entries import decode_entries
from driftlog.space.status import LogEntry


class Effects:
    """Runs an app's effects on one device."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = Lock()

    def run(self, perform: Callable[[Effect, LogEntry], None]) -> int:
        """Perform what is due, in order, and give how many there were. What an effect raises ends it, and is passed on."""
        if not self._engine.program.effects:
            raise DriftlogError("the app declares no effects; declare one with @app.effect(TodoAdded)")
        self._engine.check_writable()
        if not self._lock.acquire(blocking=False):
            raise DriftlogError("effects are running already; an effect must not run effects, nor two threads at once")
        try:
            return self._run(perform)
        finally:
            self._lock.release()

    def _run(self, perform: Callable[[Effect, LogEntry], None]) -> int:
        settled = self._engine.settled()
        done = 0
        passed: Timestamp | None = None
        for entry in decode_entries(self._engine.reader, self._engine.program, self._mark(), None):
            if settled is None or entry.timestamp > settled:
                break
            effect = self._effect_of(entry.event) if entry.state is State.APPLIED else None
            passed = entry.timestamp
            if effect is not None:
                perform(effect, entry)
                self._keep(passed)
                passed = None
                done += 1
        if passed is not None:
            # Nothing was done for these; it only saves passing over them again.
            self._keep(passed)
        return done

    def _effect_of(self, event: Event | None) -> Effect | None:
        if event is None:
            return None
        return self._engine.program.effects.get((event.event_name, event.event_version))

    def _mark(self) -> Timestamp | None:
        with self._engine.reading() as store:
            mark = store.meta.get("effects")
            if mark is None:
                return None
            place = decode_mark(mark)
            if place is not None and store.log.find(place) is not None:
                return place
        raise Corrupt(
            f"{self._engine.path}: the mark of the effects that have run is damaged; none is run, because it is not "
            "known which have been. Run repair on the file: it looks for the event that the mark was set to"
        )

    def _keep(self, mark: Timestamp) -> None:
        # On disk even where durability is relaxed: what was done outside cannot be taken back by a power cut.
        with self._engine.writing(is_synced=True) as store:
            store.meta.set("effects", encode_place(mark))
