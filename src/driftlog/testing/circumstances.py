"""The circumstances under which a log is replayed: what may differ between two devices and must not matter.

Those of one process (replayed again, unordered rows, clock and chance) are tried in `replays_here`. Those of a process as a
whole (hash seed, time zone, locale, working directory) are variables of a new one, see `replay_process`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from driftlog.space.app import App
from driftlog.testing.peeking import FIRST, OTHER, Moment, replaced
from driftlog.testing.replay import Effects, Placed, replay


@dataclass(frozen=True)
class Circumstance:
    """Something that differs from the plain replay, in words that end a sentence, and what usually depends on it."""

    words: str
    causes: str


@dataclass(frozen=True)
class InProcess(Circumstance):
    """A circumstance that can be had in any process."""

    moment: Moment = FIRST
    is_reversed: bool = False


@dataclass(frozen=True)
class NewProcess(Circumstance):
    """A circumstance that only a new process can have."""

    variables: dict[str, str] = field(default_factory=dict)
    locales: tuple[str, ...] = ()
    """The first of them that is installed is set, as a desktop toolkit would."""
    is_elsewhere: bool = False
    """The process works in an empty directory."""


PLAIN: Final = InProcess("", "")

IN_PROCESS: Final = (
    PLAIN,
    InProcess(
        "when it is replayed again in the same process",
        "a global that changes (a counter, a cache, a list), an object's id() or address, or a clock or randomness from "
        "elsewhere than time, datetime, random and os.urandom; keep what counts in the tables",
    ),
    InProcess(
        "under PRAGMA reverse_unordered_selects",
        "a SELECT of several rows without ORDER BY, of which the first or their order counts; add ORDER BY with a key",
        is_reversed=True,
    ),
    InProcess(
        "at another time and with other randomness",
        "time.time(), datetime.now(), random, os.urandom, uuid4 or secrets; use tx.wall_ms, tx.timestamp, tx.random_int() "
        "and tx.new_id(), or put the value into the event",
        moment=OTHER,
    ),
)
"""The plain replay comes first; the others are compared with it."""

LOCALES: Final = ("tr_TR.UTF-8", "de_DE.UTF-8", "fr_FR.UTF-8", "es_ES.UTF-8", "ru_RU.UTF-8", "C.UTF-8")
"""Turkish first, with its dotless i, and a comma in numbers; the last is installed nearly everywhere, and differs least."""

_PLAIN_VARIABLES: Final = {"PYTHONHASHSEED": "0", "TZ": "UTC0", "LC_ALL": "C"}

PLAIN_PROCESS: Final = NewProcess("", "", _PLAIN_VARIABLES, ("C",))

HASH_SEEDS: Final = (1, 2, 3, 4)
"""A set of two comes out in the same order under half of all seeds, so one more would not do; four miss one in 16."""


def _hash_seed(seed: int) -> NewProcess:
    return NewProcess(
        f"under PYTHONHASHSEED={seed} rather than 0",
        "the order of a set or frozenset, or hash() of text or bytes; sort what comes out of a set, use hashlib for hashes",
        _PLAIN_VARIABLES | {"PYTHONHASHSEED": str(seed)},
        ("C",),
    )


NEW_PROCESS: Final = (
    *map(_hash_seed, HASH_SEEDS),
    NewProcess(
        "in the time zone UTC+13:45 rather than UTC",
        "datetime.fromtimestamp(), time.localtime() or .astimezone() without a zone; give them UTC",
        # POSIX's own notation, which needs no table of zones. Its sign says what to add to come to UTC.
        _PLAIN_VARIABLES | {"TZ": "<+1345>-13:45"},
        ("C",),
    ),
    NewProcess(
        f"under LC_ALL={LOCALES[0]} or another locale rather than C",
        "strftime('%A'), the format 'n', locale.strxfrm(), or text files opened without encoding=; store numbers and ISO "
        "dates, and format them where they are shown",
        _PLAIN_VARIABLES | {"LC_ALL": LOCALES[0]},
        LOCALES,
    ),
    NewProcess(
        "in another working directory",
        "a file named by a relative path; put what it holds into the event, or into the module",
        _PLAIN_VARIABLES,
        ("C",),
        is_elsewhere=True,
    ),
)

THIS_PROCESS: Final = Circumstance(
    "in this process rather than a new one",
    "a global that something in this process has changed before, a patched function, or an environment variable",
)


def replays_here(app: App, log: Sequence[Placed], circumstances: Sequence[InProcess]) -> list[Effects]:
    """Replay in this process, under one circumstance after the other."""
    handlers = [materializer.handler for materializer in app._program().materializers.values()]
    replays = []
    for circumstance in circumstances:
        with replaced(circumstance.moment, handlers):
            replays.append(replay(app, log, is_reversed=circumstance.is_reversed))
    return replays
