"""What an app declares, as the fold needs it: tables, the materializer of each event type, upgrades of older versions."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from operator import itemgetter
from types import CodeType, FunctionType
from typing import Any, NoReturn, Protocol

import msgspec

from driftlog._core.event import Event, EventType
from driftlog._core.limits import CRITICAL_BIT
from driftlog._sqlite.local import NO_LOCAL_TABLES, LocalTables
from driftlog._sqlite.tables import TableSet

BOUND_FUNCTIONS_DEEP = 8
"""Decorators within decorators; a function bound into itself must come to an end."""

Handler = Callable[[Any, Any], None]
"""`(tx, event) -> None`; the event's class is the one it was declared for, which only the app's own types can say."""


class Upgrade(Protocol):
    """Gives the fields of the next version of an event type, made of those of a version: a plain function."""

    __qualname__: str

    def __call__(self, fields: dict[str, object], /) -> dict[str, object]:
        """Give the new fields."""
        ...


Effect = Callable[[Any, Any], None]
"""`(space, entry) -> None`; both are of layers above, which this one does not know."""


class Rejection(Exception):
    """Raised by `reject`: this event has no effect in its place."""

    def __init__(self, reason: str, event_name: str = "", touch: bytes | None = None) -> None:
        # Whatever was given: a number is a poor reason, but it is no reason to stop.
        super().__init__(str(reason))
        self.reason = str(reason)
        self.event_name = event_name
        self.touch = touch


def reject(reason: str) -> NoReturn:
    """Refuse the event that is being materialized; call it in a materializer.

    What the event had changed is undone, and it is recorded as rejected with `reason`, on every device alike. It is
    judged again whenever an earlier event arrives. `append` raises `EventRejected` where the event is made.
    """
    raise Rejection(reason)


@dataclass(frozen=True, slots=True)
class Materializer:
    """How one event type changes the view."""

    event_type: type[Event]
    handler: Handler
    decode: Callable[[bytes], Event]
    upgrades: tuple[Upgrade, ...] = ()
    """What brings the fields of an older version to those of `event_type`, step by step; none for its own version."""

    @classmethod
    def of(cls, event_type: type[Event], handler: Handler) -> "Materializer":
        """Pair a type with its handler and the decoder of its payload."""
        return cls(event_type, handler, msgspec.msgpack.Decoder(event_type).decode)

    @property
    def name(self) -> str:
        """The handler's name, for messages."""
        return getattr(self.handler, "__qualname__", repr(self.handler))


@dataclass(frozen=True)
class Program:
    """The tables and materializers of one version of an app."""

    name: str
    tables: TableSet
    is_float_allowed: bool
    materializers: Mapping[EventType, Materializer] = field(default_factory=dict)
    upgrades: Mapping[EventType, Upgrade] = field(default_factory=dict)
    """By the version that each begins with; following them leads to a version that has a materializer."""
    local: LocalTables = NO_LOCAL_TABLES
    """Tables that have no part in the view, and none in the fingerprint."""
    effects: Mapping[EventType, Effect] = field(default_factory=dict)
    """What is done outside for events that are settled; none of it is in the fingerprint."""

    @cached_property
    def readings(self) -> dict[tuple[str, int], Materializer]:
        """Name and marked version of every event that this version of the app knows, and how it is materialized.

        A type is known with the mark and without: an app version that makes it critical, or no longer, has written both.
        """
        known = {**self.materializers, **{older: self._upgraded(*older) for older in self.upgrades}}
        return {
            (name, marked_version): materializer
            for (name, version), materializer in known.items()
            for marked_version in (version, version | CRITICAL_BIT)
        }

    def _upgraded(self, name: str, version: int) -> Materializer:
        steps = []
        while (step := self.upgrades.get((name, version))) is not None:
            steps.append(step)
            version += 1
        return replace(self.materializers[name, version], upgrades=tuple(steps))

    @cached_property
    def fingerprint(self) -> bytes:
        """Differs when the view may: other tables, event types, fields, materializers, or upgrades.

        Of a function its own code counts, and the functions and plain values bound into it; not what it calls by name.
        Another version of Python compiles it differently, which costs one rebuild that changes nothing.
        """
        hasher = blake2b(self.tables.fingerprint, digest_size=16)
        for key, materializer in sorted(self.materializers.items(), key=itemgetter(0)):
            event_type = materializer.event_type
            hasher.update(repr((key, event_type.__struct_fields__, event_type.__annotations__)).encode())
            hasher.update(repr(event_type.__struct_defaults__).encode())
            if isinstance(materializer.handler, FunctionType):
                _add_function(hasher, materializer.handler)
        for key, upgrade in sorted(self.upgrades.items(), key=itemgetter(0)):
            assert isinstance(upgrade, FunctionType), "the declaration takes nothing else"
            hasher.update(repr(("upgrade", key)).encode())
            _add_function(hasher, upgrade)
        return hasher.digest()


def _add_function(hasher: blake2b, function: FunctionType, depth: int = 0) -> None:
    _add_code(hasher, function.__code__)
    for value in (*_cells(function), *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        if isinstance(value, FunctionType) and depth < BOUND_FUNCTIONS_DEEP:
            _add_function(hasher, value, depth + 1)
        elif isinstance(value, (bool, int, float, str, bytes)):
            # Only plain values have a text that is the same in every run.
            hasher.update(repr(value).encode())


def _cells(function: FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        # An empty cell is a name that is bound later, as that of a function further down: there is no value to add.
        with suppress(ValueError):
            yield cell.cell_contents


def _add_code(hasher: blake2b, code: CodeType) -> None:
    hasher.update(code.co_code)
    hasher.update(repr((code.co_names, code.co_varnames)).encode())
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _add_code(hasher, constant)
        else:
            # Sets of constants are shown in the order of their hashes, which differs between runs.
            shown = sorted(map(repr, constant)) if isinstance(constant, frozenset) else repr(constant)
            hasher.update(repr(shown).encode())
