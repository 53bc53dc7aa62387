"""What a declaration of events and upgrades must be to mean one thing on every device, checked before a space opens."""

import inspect
from collections.abc import Mapping
from types import FunctionType
from typing import NamedTuple

from driftlog._core.event import Event, EventType
from driftlog._store.program import Materializer, Upgrade
from driftlog.errors import InvalidApp


class DeclaredUpgrade(NamedTuple):
    """An upgrade, and the type that it leads to, perhaps through others."""

    event_type: type[Event]
    function: Upgrade


def check_event_type(event_type: object) -> None:
    """Raise unless `event_type` is a subclass of `Event`."""
    if not (isinstance(event_type, type) and issubclass(event_type, Event)) or event_type is Event:
        raise InvalidApp(f"{event_type!r} is not an event type; declare one with `class TodoAdded(Event): ...`")


def check_from_version(event_type: type[Event], from_version: int) -> None:
    """Raise unless there is a way up from `from_version` to the type's own version."""
    version = event_type.event_version
    if type(from_version) is not int or not 1 <= from_version < version:
        next_version = max(version, from_version if type(from_version) is int else 1) + 1
        raise InvalidApp(
            f"an upgrade of {event_type.__name__} from_version={from_version!r} does not lead up to its version {version}; "
            + (f"give a from_version from 1 to {version - 1}, or " if version > 1 else "")
            + f"declare the new fields as `class {event_type.__name__}(Event, version={next_version})`"
        )


def check_upgrade_function(function: object) -> None:
    """Raise unless `function` is a plain function, whose code says when it has changed."""
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    if not isinstance(function, FunctionType) or any(is_kind(function) for is_kind in kinds):
        name = getattr(function, "__qualname__", repr(function))
        raise InvalidApp(
            f"upgrade {name} is not a plain function; write `def {getattr(function, '__name__', 'upgraded')}(fields): ...` "
            "that returns the new fields"
        )


def check_upgrades(
    materializers: Mapping[EventType, Materializer], upgrades: Mapping[EventType, DeclaredUpgrade]
) -> None:
    """Raise unless every upgrade leads, step by step, to a type that has a materializer, and no version has two meanings."""
    for (name, from_version), (event_type, function) in upgrades.items():
        cls, version = event_type.__name__, event_type.event_version
        competitor = materializers.get((name, from_version))
        if competitor is not None:
            raise InvalidApp(
                f"event {name!r} version {from_version} has the materializer {competitor.name} and the upgrade "
                f"{function.__qualname__}; keep one of them, because they may mean different things"
            )
        if (name, version) not in materializers:
            raise InvalidApp(
                f"upgrade {function.__qualname__} leads to event {name!r} version {version}, which has no materializer; "
                f"declare one with @app.on({cls})"
            )
        for between in range(from_version + 1, version):
            if (name, between) in materializers:
                raise InvalidApp(
                    f"upgrade {function.__qualname__} leads to event {name!r} version {version}, past version {between}, "
                    f"which has the materializer {materializers[name, between].name}; declare it for that version's type"
                )
            if (name, between) not in upgrades:
                raise InvalidApp(
                    f"upgrade {function.__qualname__} brings event {name!r} from version {from_version} to "
                    f"{from_version + 1}, but nothing leads on from version {between}; declare the next step with "
                    f"@app.upgrade({cls}, from_version={between})"
                )
