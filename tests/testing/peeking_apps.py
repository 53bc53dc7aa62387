"""Apps whose materializers each look at something that differs between devices, and one whose materializers do not."""

import locale
import os
import random
import secrets
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from time import time as imported_by_name
from uuid import uuid4

from driftlog import App, Event, ViewTransaction, reject

TABLES = """
CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
CREATE TABLE tag (word TEXT PRIMARY KEY, note INTEGER NOT NULL) STRICT;
"""


class NoteTaken(Event, name="note.taken"):
    """A note with some words."""

    id: int
    words: list[str]
    at_s: int = 0


class NoteJudged(Event, name="note.judged"):
    """What the app under test does something wrong with, for notes with an even id."""

    id: int


def plain_text(event: NoteTaken) -> str:
    return " ".join(event.words)


def notes(judge: Callable[[ViewTransaction, int], str], name: str = "org.example.notes") -> App:
    """Make an app that takes notes as one should, and writes down what `judge` says of those with an even id."""
    app = App(name, tables=TABLES)

    @app.on(NoteTaken)
    def note_taken(tx: ViewTransaction, event: NoteTaken) -> None:
        tx.execute("INSERT INTO note VALUES (?, ?)", (event.id, plain_text(event)))
        for word in event.words:
            tx.execute("INSERT INTO tag VALUES (?, ?) ON CONFLICT DO NOTHING", (word, event.id))

    @app.on(NoteJudged)
    def note_judged(tx: ViewTransaction, event: NoteJudged) -> None:
        if event.id % 2 == 0:
            tx.execute("UPDATE note SET text = ? WHERE id = ?", (judge(tx, event.id), event.id))

    return app


def words_of(tx: ViewTransaction, note: int) -> list[str]:
    return [row.word for row in tx.query("SELECT word FROM tag WHERE note = ? ORDER BY word", (note,))]


def _rejected_by_clock(_: ViewTransaction, __: int) -> str:
    if time.time() > 1_720_000_000:
        reject("too late")
    return "in time"


def _counted(_: ViewTransaction, __: int) -> str:
    global _count
    _count += 1
    return str(_count)


_count = 0


def _seen_before(_: ViewTransaction, note: int) -> str:
    is_new = note not in _seen
    _seen.add(note)
    return str(is_new)


_seen: set[int] = set()


def _of_another_process(_: ViewTransaction, __: int) -> str:
    return str(changed_by_a_test)


changed_by_a_test = False


def _clean(tx: ViewTransaction, note: int) -> str:
    dice = f"{tx.random_int(1, 6)} {tx.new_id()} {tx.wall_ms} {datetime.fromtimestamp(tx.wall_ms / 1000, UTC)}"
    return f"{sorted(set(words_of(tx, note)))} {dice}"


def _with_a_set(tx: ViewTransaction, note: int) -> str:
    return " ".join(set(words_of(tx, note)))


def _with_hash(tx: ViewTransaction, note: int) -> str:
    return str(hash(words_of(tx, note)[0]))


def _local(tx: ViewTransaction, _: int) -> str:
    return datetime.fromtimestamp(tx.wall_ms / 1000).isoformat()


def _with_relative_path(_: ViewTransaction, __: int) -> str:
    return Path("pyproject.toml").read_text(encoding="utf-8")[:20]


def _with_one_of_many(tx: ViewTransaction, note: int) -> str:
    return str(tx.query("SELECT word FROM tag WHERE note = ? LIMIT 1", (note,))[0].word)


clean = notes(_clean)
set_order = notes(_with_a_set)
hashed = notes(_with_hash)
local_time = notes(_local)
environment = notes(lambda _, __: f"{os.environ.get('LC_ALL')} {locale.setlocale(locale.LC_ALL)}")
directory = notes(_with_relative_path)
unordered = notes(_with_one_of_many)
clock = notes(lambda _, __: str(time.time()))
counter = notes(_counted)
cache = notes(_seen_before)
patched = notes(_of_another_process)

Judge = Callable[[ViewTransaction, int], str]

LOOKING_AT_CLOCK_OR_CHANCE: dict[str, Judge] = {
    "time": lambda _, __: str(int(time.time())),
    "time_ns": lambda _, __: str(time.time_ns()),
    "time imported by name": lambda _, __: str(int(imported_by_name())),
    "localtime": lambda _, __: str(time.localtime()),
    "gmtime": lambda _, __: str(time.gmtime().tm_year),
    "strftime": lambda _, __: time.strftime("%Y-%m-%d"),
    "ctime": lambda _, __: time.ctime(),
    "asctime": lambda _, __: time.asctime(),
    "datetime": lambda _, __: f"{datetime.now(UTC):%H:%M}",
    "datetime.today": lambda _, __: str(datetime.today().year),
    "date": lambda _, __: str(date.today()),
    "a verdict": _rejected_by_clock,
    "random": lambda _, __: str(random.randint(1, 1 << 40)),
    "SystemRandom": lambda _, __: str(random.SystemRandom().getrandbits(60)),
    "urandom": lambda _, __: os.urandom(8).hex(),
    "uuid4": lambda _, __: str(uuid4()),
    "secrets": lambda _, __: secrets.token_hex(),
}
"""Each reads nothing else, so that all of them replay alike at one moment and differently at another."""


def _stuck(_: ViewTransaction, __: int) -> str:
    while os.environ.get("DRIFTLOG_REPLAY_PROCESS"):
        time.sleep(0.01)
    return ""


stuck = notes(_stuck)


def _killed(_: ViewTransaction, __: int) -> str:
    if os.environ.get("DRIFTLOG_REPLAY_PROCESS"):
        print("the processor is on fire", file=sys.stderr, flush=True)
        os._exit(7)
    return ""


killed = notes(_killed)
