"""Hypothesis strategies for an app: its events, and stories of a fleet.

    check_convergence(app, events(app, id=st.sampled_from("abc")))

Events are drawn from the annotations of their fields, small values first and often the same ones, because what two users
do to one row is where an app goes wrong. A field that means something else, an amount or a key, is given a strategy by
its name.
"""

from typing import Any, Final, TypeVar

from driftlog._core.event import Event
from driftlog.space.app import App
from driftlog.testing.story import DEVICES_MAX, Appends, ClockIsOff, Meets, Step, Story, Undoes, devices_of

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'Hypothesis draws events and stories, and is not installed: pip install "driftlog[testing]"', name=error.name
    ) from None
from msgspec import inspect as types

from driftlog.testing.annotated import CannotDraw, values

STEPS_MAX: Final = 12
"""Of a story. Devices differ after two or three steps; more stories find more than longer ones do."""

EVENTS_AT_ONCE_MAX: Final = 3

UNDONE_BACK_MAX: Final = 5

OFF_MS: Final = (0, -1_000, 1_000, -3_600_000, 3_600_000, -3_650 * 86_400_000, 3 * 86_400_000)
"""How wrong a clock may be: a second, an hour, ten years slow, and three days fast, which others do not accept at once."""

_EventT = TypeVar("_EventT", bound=Event)


def events(app: App, /, **fields: SearchStrategy[Any]) -> SearchStrategy[Event]:
    """Draw events of all types that an app has materializers for.

    `fields` gives strategies by the names of fields, for each type that has one of that name: `id=st.sampled_from("abc")`.
    For types apart, use `st.one_of` with `events_of` each. Raises `TypeError` for a name that no type has, and for a field
    whose annotation does not say enough.
    """
    event_types = [materializer.event_type for materializer in app._program().materializers.values()]
    if not event_types:
        raise TypeError(f"app {app.name!r} has no materializer, so there is no event to draw; declare one with @app.on")
    _refuse_unknown(fields, {name for one in event_types for name in one.__struct_fields__}, f"app {app.name!r}")
    drawn = []
    for event_type in event_types:
        own = {name: strategy for name, strategy in fields.items() if name in event_type.__struct_fields__}
        drawn.append(_events_of(event_type, own, is_float_allowed=app._is_float_allowed))
    return st.one_of(drawn)


def events_of(event_type: type[_EventT], /, **fields: SearchStrategy[Any]) -> SearchStrategy[_EventT]:
    """Draw events of one type. `fields` gives strategies for fields by name, the others follow their annotations."""
    _refuse_unknown(fields, set(event_type.__struct_fields__), event_type.__name__)
    # Of an app that allows none, an event with a float cannot be appended, and that says so better than we could here.
    return _events_of(event_type, fields, is_float_allowed=True)


def stories(
    app: App, events: SearchStrategy[Event] | None = None, *, devices: int = 3, steps_max: int = STEPS_MAX
) -> SearchStrategy[Story]:
    """Draw stories of two to `devices` devices, for `play(app, story)`. Without `events`, all of the app's are drawn."""
    if not 2 <= devices <= DEVICES_MAX:
        raise ValueError(f"stories of {devices} devices; give 2 to {DEVICES_MAX}")
    drawn = _events(app) if events is None else events
    return st.lists(_steps(devices, drawn), max_size=steps_max).map(_story)


_events = events
"""Under a name that `stories` has not given to an argument."""


def _story(steps: list[Step]) -> Story:
    # As many devices as have a part: a draw that others hang on would keep Hypothesis from leaving steps out.
    named = [device for step in steps for device in devices_of(step)]
    return Story(max([1, *named]) + 1, tuple(steps))


def _steps(devices: int, events: SearchStrategy[Event]) -> SearchStrategy[Step]:
    device = st.integers(0, devices - 1)
    several = st.lists(events, min_size=2, max_size=EVENTS_AT_ONCE_MAX).map(tuple)
    alone = st.tuples(events)
    pairs = st.sampled_from([(one, other) for other in range(devices) for one in range(other)])
    # Half of what happens is what users do. What is named first is what Hypothesis shrinks towards.
    return st.one_of(
        st.builds(Appends, device, alone),
        st.builds(Appends, device, alone),
        pairs.map(lambda pair: Meets(*pair)),
        st.builds(Appends, device, several),
        st.builds(ClockIsOff, device, st.sampled_from(OFF_MS)),
        st.builds(Undoes, device, st.integers(0, UNDONE_BACK_MAX)),
    )


def _events_of(
    event_type: type[_EventT], fields: dict[str, SearchStrategy[Any]], *, is_float_allowed: bool
) -> SearchStrategy[_EventT]:
    described = types.type_info(event_type)
    assert isinstance(described, types.StructType), "an event type is a struct"
    arguments = dict(fields)
    for field in described.fields:
        if field.name not in arguments:
            try:
                arguments[field.name] = values(field.type, is_float_allowed=is_float_allowed)
            except CannotDraw as error:
                raise TypeError(
                    f"no values can be drawn for {event_type.__name__}.{field.name}: {error}; give a strategy for it, "
                    f"events(app, {field.name}=...)"
                ) from None
    return st.builds(event_type, **arguments)


def _refuse_unknown(fields: dict[str, SearchStrategy[Any]], known: set[str], whose: str) -> None:
    for name in fields:
        if name not in known:
            raise TypeError(f"no event of {whose} has a field {name!r}; its fields are {', '.join(sorted(known))}")
