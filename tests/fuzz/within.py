"""Inputs that lie within a space's own file, as rot or another program may leave them, and keys that people ask `why` by.

None needs to be understood: what cannot be read is refused, and repair makes undo data and facts anew.
"""

import atexit
import re
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw
import msgspec

from driftlog import App, Event, LogEntry, Space, ViewTransaction
from driftlog._core.wire import Malformed
from driftlog._sqlite.connection import connect
from driftlog._sqlite.keys import RowKey, row_key
from driftlog._store.history import _names
from driftlog._store.view import View
from driftlog.cli import why
from driftlog.space import files
from tests.disk.world import MEMORY
from tests.fuzz.seeds import NOW_MS
from tests.fuzz.trees import Fixed, Node, Pack, Raw, Seq
from tests.protocol.fakes import entropy
from tests.todo_app import Clock

TABLES: Final = """
CREATE TABLE item (id TEXT PRIMARY KEY, n INTEGER NOT NULL, more ANY) STRICT;
CREATE TABLE pair (a INTEGER NOT NULL, b BLOB NOT NULL, text TEXT COLLATE NOCASE, PRIMARY KEY (a, b)) STRICT, WITHOUT ROWID;
CREATE TABLE mixed (
  x ANY NOT NULL, r REAL NOT NULL, t TEXT NOT NULL COLLATE NOCASE, PRIMARY KEY (x, r, t)
) STRICT, WITHOUT ROWID;
CREATE TABLE one (id INTEGER PRIMARY KEY, name TEXT UNIQUE) STRICT;
"""


_MAP_HEADS: Final = re.compile(rb"[\xde\xdf]")


class Kept(Event):
    id: str


APP: Final = App("org.example.within", tables=TABLES, floats=True)


@APP.on(Kept)
def kept(tx: ViewTransaction, event: Kept) -> None:
    tx.execute("INSERT INTO item VALUES (?1, 1, NULL) ON CONFLICT (id) DO UPDATE SET n = n + 1", (event.id,))


@APP.effect(Kept)
def told(_space: Space, _entry: LogEntry) -> None:
    pass


# --- undo data -------------------------------------------------------------------------------------------------------

ITEM, MIXED, ONE, PAIR = 0, 1, 2, 3
"""Tables by their index, which goes by name."""

UNDO: Final[tuple[Node, ...]] = (
    Pack([[[ITEM, "a"], [PAIR, 1, b"b"]], [[ITEM, "c", 3, None], [PAIR, -1, bytes(40), "Text"]]]),
    Pack([[[ONE, 7]], [[MIXED, 1.5, 2.0, "x"], [ONE, 1 << 40, "name"], [ONE, 2, None]]]),
    Pack([[], [[ITEM, f"{number}", number, b"more"] for number in range(20)]]),
)


class _Bench(NamedTuple):
    connection: apsw.Connection
    view: View
    key: RowKey


@cache
def _bench() -> _Bench:
    connection = connect(":memory:")
    tables = APP._program().tables
    view = View(connection, tables)
    view.create()
    assert [table.name for table in tables.tables] == ["item", "mixed", "one", "pair"]
    return _Bench(connection, view, row_key(connection, tables, "item", "a"))


def undo(data: bytes) -> None:
    """Look for a row in undo data, take its cells, and take back by it what there is."""
    _refuse_large_maps(data)
    bench = _bench()
    _names(data, bench.key)
    bench.view.touch(data, None)
    bench.view.touch(None, data)
    bench.connection.execute("BEGIN")
    try:
        bench.view.rewind([data])
    finally:
        bench.connection.execute("ROLLBACK")


# --- facts -----------------------------------------------------------------------------------------------------------

NAMES: Final = ("app", "genesis", "device", "view", "own_branch", "comparisons", "effects", "relay", "epoch")
_RELAY: Final = "INSERT INTO driftlog_relay VALUES ('wss://relay.example', ?, ?, ?, ?, ?)"


class _Template(NamedTuple):
    database: bytes
    key: bytes
    facts: dict[str, bytes]


@cache
def _template() -> _Template:
    path = _folder() / "template.db"
    with APP.open(path, clock=Clock(NOW_MS), entropy=entropy) as space:
        for number in range(3):
            space.append(Kept(id=f"{number}"))
            space.seal()
        space.append(Kept(id="unsealed"))
        space.acknowledge()
        space.run_effects()
    with apsw.Connection(str(path)) as connection:
        facts: dict[str, bytes] = dict(connection.execute("SELECT key, value FROM driftlog_meta"))
    connection.close()
    return _Template(path.read_bytes(), files.key_path(path).read_bytes(), facts)


@cache
def _folder() -> Path:
    # In memory where the machine has that: each input is synced many times.
    folder = Path(tempfile.mkdtemp(prefix="driftlog-fuzz-", dir=MEMORY if MEMORY.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def facts() -> tuple[Node, ...]:
    """Give each fact as it is, after its number."""
    known = [name for name in NAMES if name in _template().facts]
    relay = Pack([bytes(16), 3, 1, 0, None])
    return (
        *(Seq((Fixed(NAMES.index(name), 1), Raw(_template().facts[name]))) for name in known),
        Seq((Fixed(NAMES.index("own_branch"), 1), Fixed(2, 8), Raw(bytes(32)), Fixed(NOW_MS << 16, 8))),
        Seq((Fixed(NAMES.index("relay"), 1), relay)),
    )


def fact(data: bytes) -> None:
    """Open a space with one of its facts replaced, use it, and verify it."""
    if not data or data[0] >= len(NAMES):
        raise Malformed("no fact of a space")
    path = _folder() / "space.db"
    for old in _folder().glob("space.db*"):
        old.unlink()
    path.write_bytes(_template().database)
    files.key_path(path).write_bytes(_template().key)
    _replace(path, NAMES[data[0]], data[1:])
    with APP.open(path, clock=Clock(NOW_MS), entropy=entropy) as space:
        _use(space)


def _replace(path: Path, name: str, value: bytes) -> None:
    connection = apsw.Connection(str(path))
    try:
        if name == "relay":
            connection.execute(_RELAY, unpacked(value))
        elif name == "epoch":
            connection.execute("UPDATE driftlog_epoch SET key = ?", (value,))
        else:
            connection.execute("UPDATE driftlog_meta SET value = ? WHERE key = ?", (value, name))
    except (apsw.Error, TypeError, ValueError, OverflowError) as error:
        raise Malformed("nothing that SQLite would keep there") from error
    finally:
        connection.close()


def _use(space: Space) -> None:
    space.verify()
    space.status()
    space.append(Kept(id="more"))
    space.seal()
    space.run_effects()
    list(space.envelopes_for(space.version_vector()))
    assert len(list(space.log())) >= 5
    space.why("item", "more")


# --- keys ------------------------------------------------------------------------------------------------------------

KEYS: Final[tuple[Node, ...]] = (
    Pack(["item", "more"]),
    Pack(["pair", 1, b"b"]),
    Pack(["pair", "1", "0a0b"]),
    Pack(["mixed", "1", "2.5", "x"]),
    Pack(["mixed", b"x", 2.5, "X"]),
    Pack(["one", "-9223372036854775808"]),
    Pack(["one", 7]),
)


@cache
def _space() -> Space:
    space = APP.open(":memory:", clock=Clock(NOW_MS))
    space.append(Kept(id="more"))
    return space


def key(data: bytes) -> None:
    """Ask a space for the history of a row, and if the key is of texts, as the command line does, too."""
    table, *values = unpacked(data)
    space = _space()
    if isinstance(table, str) and all(isinstance(value, str) for value in values):
        table, *values = (
            text.encode(errors="surrogatepass").decode(errors="surrogateescape") for text in (table, *values)
        )
        values = why.read_key(space, table, values)
    space.why(table, values)


def _refuse_large_maps(data: bytes) -> None:
    """Maps whose keys have one hash take long to build. No event brings a map here, and rot makes no such keys."""
    if _MAP_HEADS.search(data):
        raise Malformed("perhaps a map of more than 15 keys")


def unpacked(data: bytes) -> Sequence[Any]:
    """Give the list that an input is. Anything else is no input."""
    _refuse_large_maps(data)
    try:
        read = msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Malformed("no list") from error
    if not isinstance(read, list) or not read:
        raise Malformed("no list")
    return read
