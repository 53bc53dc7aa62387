"""Clock and chance replaced for one thread, so that a materializer which looks at them gives itself away.

Two replays at one `Moment` see one time and draw one sequence; at another moment, others. Replaced are the clocks of
`time`, `datetime` and `date`, `random`'s own generator, and `os.urandom` with what draws from it (`uuid.uuid4`,
`secrets`), also where the app's modules have imported them by name. What is not reached (a default argument, an
extension's own clock, `uuid1`) differs between any two replays by itself.

`time.monotonic` is left alone: who waits by it would wait for ever.
"""

import datetime
import os
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import get_ident
from types import FunctionType, ModuleType
from typing import Any, Final, NamedTuple

TICK_NS: Final = 1_000_000
"""The replaced clock moves on by this much whenever it is read, so that no loop that waits for it is endless."""


class Moment(NamedTuple):
    """What a replay sees as now, and what it draws."""

    start_s: int
    seed: int


FIRST: Final = Moment(1_700_000_000, 1)
OTHER: Final = Moment(FIRST.start_s + 400 * 86_400 + 7 * 3_600 + 13 * 60 + 17, 2)
"""Another year, month, day, weekday, hour, minute and second."""

_Function = Callable[..., Any]  # whatever is replaced: its signature is its own


@contextmanager
def replaced(moment: Moment, handlers: Iterable[Callable[..., object]]) -> Iterator[None]:
    """Replace clock and chance for this thread, in the standard library and in the modules of `handlers`."""
    by_original = _replacements(moment)
    namespaces = [vars(module) for module in (time, datetime, os, random)] + _namespaces(handlers)
    originals: list[tuple[dict[str, Any], str, Any]] = []
    state = random.getstate()
    try:
        for namespace in namespaces:
            for name, value in list(namespace.items()):
                if id(value) in by_original:
                    originals.append((namespace, name, value))
                    namespace[name] = by_original[id(value)]
        random.seed(moment.seed)
        yield
    finally:
        random.setstate(state)
        for namespace, name, value in originals:
            namespace[name] = value


def _replacements(moment: Moment) -> dict[int, Any]:
    """Give each replacement by the identity of what it replaces."""
    now_ns = moment.start_s * 1_000_000_000
    dice = random.Random(moment.seed)  # noqa: S311 - what is wanted is that it repeats itself

    def tick() -> int:
        nonlocal now_ns
        now_ns += TICK_NS
        return now_ns

    def seconds() -> float:
        return tick() / 1e9

    now = _here(seconds, time.time)
    local = time.localtime

    def now_local() -> time.struct_time:
        return local(now())

    pairs: list[tuple[Any, Any]] = [
        (time.time, now),
        (time.time_ns, _here(tick, time.time_ns)),
        (time.localtime, _with_default(time.localtime, 0, now)),
        (time.gmtime, _with_default(time.gmtime, 0, now)),
        (time.ctime, _with_default(time.ctime, 0, now)),
        (time.asctime, _with_default(time.asctime, 0, now_local)),
        (time.strftime, _with_default(time.strftime, 1, now_local)),
        (os.urandom, _here(dice.randbytes, os.urandom)),
        (datetime.datetime, _datetime_seeing(now)),
        (datetime.date, _date_seeing(now)),
    ]
    return {id(original): replacement for original, replacement in pairs}


def _here(replacement: _Function, original: _Function) -> _Function:
    """Other threads of this process, a relay's for instance, keep what they had."""
    thread = get_ident()

    @wraps(original)
    def chosen(*arguments: Any, **named: Any) -> Any:
        return (replacement if get_ident() == thread else original)(*arguments, **named)

    return chosen


def _with_default(function: _Function, place: int, default: Callable[[], object]) -> _Function:
    """Give a function whose argument at `place`, left out, is the replaced now."""

    @wraps(function)
    def chosen(*arguments: Any) -> Any:
        is_given = len(arguments) > place and arguments[place] is not None
        return function(*arguments) if is_given else function(*arguments[:place], default())

    return chosen


def _datetime_seeing(now: _Function) -> type:
    """Give a class that makes and recognizes ordinary `datetime`s, and reads its now elsewhere. C code cannot be patched."""
    real = datetime.datetime

    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, real)

    class Datetime(datetime.datetime, metaclass=Meta):
        def __new__(cls, *arguments: Any, **named: Any) -> Any:  # it makes instances of another class on purpose
            return real(*arguments, **named)

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return real.fromtimestamp(now(), tz)

        @classmethod
        def today(cls) -> Any:
            return real.fromtimestamp(now())

        @classmethod
        def utcnow(cls) -> Any:
            return real.fromtimestamp(now(), datetime.UTC).replace(tzinfo=None)

    return Datetime


def _date_seeing(now: _Function) -> type:
    real = datetime.date

    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, real)

    class Date(datetime.date, metaclass=Meta):
        def __new__(cls, *arguments: Any, **named: Any) -> Any:  # likewise
            return real(*arguments, **named)

        @classmethod
        def today(cls) -> Any:
            return real.fromtimestamp(now())

    return Date


def _namespaces(handlers: Iterable[Callable[..., object]]) -> list[dict[str, Any]]:
    """Give the globals of the handlers, of functions bound into them, and of all modules beside theirs."""
    found: dict[int, dict[str, Any]] = {}
    roots: set[str] = set()
    queue = list(handlers)
    seen: set[int] = set()
    while queue:
        handler = queue.pop()
        if id(handler) in seen:
            continue
        seen.add(id(handler))
        # Callable objects have their class's module, and no globals of their own.
        roots.add(str(getattr(handler, "__module__", "")).partition(".")[0])
        if isinstance(handler, FunctionType):
            found[id(handler.__globals__)] = handler.__globals__
            bound = [cell.cell_contents for cell in handler.__closure__ or ()]
            queue += [value for value in bound if isinstance(value, FunctionType)]
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in roots and isinstance(module, ModuleType):
            found[id(vars(module))] = vars(module)
    return list(found.values())
