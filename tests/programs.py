"""Random apps and programs: tables of every shape, and events that say in steps what their handler does to them.

An event carries steps, `["slot_swap", 1, 2]`, and its handler interprets them in SQL. So one app can do whatever a
random program asks, and what a program asks is data that `tests/models.py` interprets a second time without SQL. The
steps are chosen to meet each other: few keys, much reading of what others write, constraints that fail halfway.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from driftlog import App, Event, reject

Step = list[str | int | None]
"""An operation's name and its arguments."""


class Did(Event, name="did"):
    steps: list[Step]


class DidAgain(Event, name="did", version=2):
    """Another version of the same name is another type."""

    steps: list[Step]


class DidLately(Event, name="did lately 🕰"):
    """Known to the newer version of the app only."""

    steps: list[Step]


@dataclass(frozen=True, slots=True)
class Variant:
    """Which shape the tables have. The steps are the same for all."""

    has_trigger: bool = False
    """Deleting an item counts it in `grave`."""
    is_folded: bool = False
    """`pair.a` and `slot.owner` compare without regard to case."""
    is_deferred: bool = False
    """`page` may come before its `doc` within an event."""
    is_rowid: bool = True
    """`slot.n` is the rowid, so SQLite can choose it."""
    has_indexes: bool = False
    """UNIQUE stands in a partial index and not in the table, and there are others."""


VARIANTS = (
    Variant(),
    Variant(has_trigger=True, has_indexes=True),
    Variant(is_folded=True, is_deferred=True),
    Variant(is_rowid=False, has_trigger=True, is_folded=True),
    Variant(is_deferred=True, is_rowid=False, has_indexes=True),
    Variant(has_trigger=True, is_folded=True, is_deferred=True, has_indexes=True),
    # As exact as tables can be: here late events find their place with the fewest others undone.
    Variant(is_rowid=False),
    Variant(is_deferred=True),
)

TABLES = ("counter", "doc", "folder", "grave", "item", "lock", "page", "pair", "pin", "slot", "tag")


def tables_of(variant: Variant) -> str:
    """Write the app's tables."""
    fold = "COLLATE NOCASE" if variant.is_folded else ""
    deferred = "DEFERRABLE INITIALLY DEFERRED" if variant.is_deferred else ""
    unique = "" if variant.has_indexes else "UNIQUE"
    script = f"""
    CREATE TABLE counter (name TEXT PRIMARY KEY, n INTEGER NOT NULL) STRICT;
    CREATE TABLE folder (
        id TEXT PRIMARY KEY, parent TEXT REFERENCES folder (id) ON DELETE CASCADE ON UPDATE CASCADE
    ) STRICT;
    CREATE TABLE lock (folder TEXT PRIMARY KEY REFERENCES folder (id) ON DELETE RESTRICT) STRICT;
    CREATE TABLE doc (
        id TEXT PRIMARY KEY, folder TEXT NOT NULL REFERENCES folder (id) ON DELETE CASCADE ON UPDATE CASCADE
    ) STRICT;
    CREATE TABLE page (
        doc TEXT NOT NULL REFERENCES doc (id) ON DELETE CASCADE ON UPDATE CASCADE {deferred}, n INTEGER NOT NULL,
        PRIMARY KEY (doc, n)
    ) STRICT;
    CREATE TABLE pin (n INTEGER PRIMARY KEY, doc TEXT REFERENCES doc (id) ON DELETE SET NULL) STRICT;
    CREATE TABLE grave (id TEXT PRIMARY KEY, times INTEGER NOT NULL) STRICT;
    CREATE TABLE item (
        id TEXT PRIMARY KEY, qty INTEGER NOT NULL CHECK (qty >= 0), less INTEGER AS (-qty) STORED
    ) STRICT;
    CREATE TABLE pair (a TEXT {fold}, b INTEGER, v INTEGER NOT NULL, PRIMARY KEY (b, a)) STRICT, WITHOUT ROWID;
    CREATE TABLE slot (n {"INTEGER" if variant.is_rowid else "INT"} PRIMARY KEY, owner TEXT {fold} {unique}) STRICT;
    CREATE TABLE tag (name TEXT PRIMARY KEY COLLATE NOCASE, uses INTEGER NOT NULL) STRICT;
    """
    if variant.has_indexes:
        script += """
        CREATE UNIQUE INDEX slot_owner ON slot (owner) WHERE owner IS NOT NULL;
        CREATE INDEX item_qty ON item (qty DESC, id);
        CREATE INDEX doc_folder ON doc (folder);
        """
    if variant.has_trigger:
        script += """
        CREATE TRIGGER item_gone AFTER DELETE ON item BEGIN
            INSERT INTO grave VALUES (old.id, 1) ON CONFLICT (id) DO UPDATE SET times = times + 1;
        END;
        """
    return script


@lru_cache
def app_of(variant: Variant, *, is_new: bool = True) -> App:
    """Declare the app: its newer version knows one type of event more."""
    app = App("org.example.judged", tables=tables_of(variant))
    app.on(Did)(handle)
    app.on(DidAgain)(handle)
    if is_new:
        app.on(DidLately)(handle)
    return app


Arguments = tuple[str | int | None, ...]


class Tx(Protocol):
    """What handlers use of the engine's transaction object; the judge of the models offers the same over plain SQLite."""

    @property
    def timestamp(self) -> Any:
        """The event's place. `Any`: all that is used of it is `.hlc`."""

    @property
    def wall_ms(self) -> int:
        """What the clock showed."""

    def execute(self, sql: str, parameters: Arguments = ()) -> None:
        """Write."""

    def one(self, sql: str, parameters: Arguments = ()) -> Any:
        """Read a row, or None. `Any`: a column has the type that its table gives it."""

    def random_int(self, low: int, high: int) -> int:
        """Draw."""


def handle(tx: Tx, event: Did | DidAgain | DidLately) -> None:
    """Do each step in turn."""
    for name, *arguments in event.steps:
        STEPS[str(name)](tx, *arguments)


StepFunction = Callable[..., None]
STEPS: dict[str, StepFunction] = {}


def step(function: StepFunction) -> StepFunction:
    """Register an operation under its function's name."""
    STEPS[function.__name__] = function
    return function


def writes(name: str, *statements: str) -> None:
    """Register an operation that only writes: each statement takes all the step's arguments, numbered."""

    def write(tx: Tx, *arguments: str | int | None) -> None:
        for sql in statements:
            tx.execute(sql, arguments[: max((at for at in range(1, 5) if f"?{at}" in sql), default=0)])

    STEPS[name] = write


# --- items: text keys, a CHECK, a generated column, perhaps a trigger -----------------------------------------------------

writes("item_insert", "INSERT INTO item (id, qty) VALUES (?1, ?2)")
writes("item_set", "UPDATE item SET qty = ?2 WHERE id = ?1")
writes("item_delete", "DELETE FROM item WHERE id = ?1")
writes(
    "item_upsert", "INSERT INTO item (id, qty) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET qty = qty + excluded.qty"
)
writes("item_rename", "UPDATE item SET id = ?2 WHERE id = ?1")
writes("item_reborn", "DELETE FROM item WHERE id = ?1", "INSERT INTO item (id, qty) VALUES (?1, ?2)")
writes("item_replace", "INSERT OR REPLACE INTO item (id, qty) VALUES (?1, ?2)")
writes("item_ignore", "INSERT OR IGNORE INTO item (id, qty) VALUES (?1, ?2)")
writes("item_all", "UPDATE item SET qty = qty + ?1")


@step
def item_capped(tx: Tx, key: str, qty: int, most: int) -> None:
    if tx.one("SELECT count(*) FROM item")[0] >= most:
        reject("full")
    tx.execute("INSERT INTO item (id, qty) VALUES (?, ?)", (key, qty))


@step
def item_take(tx: Tx, key: str, count: int) -> None:
    row = tx.one("SELECT qty FROM item WHERE id = ?", (key,))
    if row is None:
        reject("none")
    if row[0] < count:
        reject("short")
    tx.execute("UPDATE item SET qty = ? WHERE id = ?", (row[0] - count, key))


@step
def item_top(tx: Tx) -> None:
    row = tx.one("SELECT id FROM item ORDER BY qty DESC, id LIMIT 1")
    if row is not None:
        tx.execute("DELETE FROM item WHERE id = ?", (row[0],))


# --- slots: integer keys, a UNIQUE column ---------------------------------------------------------------------------------

writes("slot_put", "INSERT INTO slot (n, owner) VALUES (?1, ?2)")
writes("slot_auto", "INSERT INTO slot (owner) VALUES (?1)")
writes("slot_move", "UPDATE slot SET n = ?2 WHERE n = ?1")
writes("slot_free", "DELETE FROM slot WHERE owner = ?1")
writes("slot_replace", "INSERT OR REPLACE INTO slot (n, owner) VALUES (?1, ?2)")
writes("slot_ignore", "INSERT OR IGNORE INTO slot (n, owner) VALUES (?1, ?2)")
writes(
    "slot_upsert", "INSERT INTO slot (n, owner) VALUES (?1, ?2) ON CONFLICT (n) DO UPDATE SET owner = excluded.owner"
)
writes("slot_shift", "UPDATE slot SET n = n + 10 WHERE n < 10")


@step
def slot_swap(tx: Tx, one: int, other: int) -> None:
    first = tx.one("SELECT owner FROM slot WHERE n = ?", (one,))
    second = tx.one("SELECT owner FROM slot WHERE n = ?", (other,))
    if first is None or second is None:
        reject("no slot")
    tx.execute("UPDATE slot SET owner = NULL WHERE n = ?", (one,))
    tx.execute("UPDATE slot SET owner = ? WHERE n = ?", (first[0] if one != other else None, other))
    tx.execute("UPDATE slot SET owner = ? WHERE n = ?", (second[0], one))


# --- pairs: composite keys ------------------------------------------------------------------------------------------------

writes("pair_set", "INSERT INTO pair VALUES (?1, ?2, ?3) ON CONFLICT (b, a) DO UPDATE SET v = excluded.v")
writes("pair_add", "INSERT INTO pair VALUES (?1, ?2, ?3)")
writes("pair_drop", "DELETE FROM pair WHERE a = ?1")
writes("pair_copy", "INSERT INTO pair SELECT ?2, b, v + 1 FROM pair WHERE a = ?1")
writes("pair_rekey", "UPDATE pair SET a = ?3, b = ?4 WHERE a = ?1 AND b = ?2")


@step
def pair_link(tx: Tx, key: str, b: int) -> None:
    row = tx.one("SELECT qty FROM item WHERE id = ?", (key,))
    if row is None:
        reject("no item")
    tx.execute("INSERT INTO pair VALUES (?, ?, ?) ON CONFLICT (b, a) DO UPDATE SET v = excluded.v", (key, b, row[0]))


# --- folders, docs, pages, pins, locks: foreign keys of every kind --------------------------------------------------------

writes("folder_add", "INSERT INTO folder VALUES (?1, ?2)")
writes("folder_ensure", "INSERT OR IGNORE INTO folder VALUES (?1, NULL)")
writes("folder_drop", "DELETE FROM folder WHERE id = ?1")
writes("folder_rename", "UPDATE folder SET id = ?2 WHERE id = ?1")
writes("folder_move", "UPDATE folder SET parent = ?2 WHERE id = ?1")
writes("lock_add", "INSERT INTO lock VALUES (?1)")
writes("lock_drop", "DELETE FROM lock WHERE folder = ?1")
writes("doc_add", "INSERT INTO doc VALUES (?1, ?2)")
writes("doc_ensure", "INSERT OR IGNORE INTO folder VALUES (?1, NULL)", "INSERT OR IGNORE INTO doc VALUES (?2, ?1)")
writes(
    "page_ensure",
    "INSERT OR IGNORE INTO folder VALUES (?1, NULL)",
    "INSERT OR IGNORE INTO doc VALUES (?2, ?1)",
    "INSERT OR IGNORE INTO page VALUES (?2, ?3)",
)
writes("doc_move", "UPDATE doc SET folder = ?2 WHERE id = ?1")
writes("doc_drop", "DELETE FROM doc WHERE id = ?1")
writes("doc_rename", "UPDATE doc SET id = ?2 WHERE id = ?1")
writes("page_add", "INSERT INTO page VALUES (?1, ?2)")
writes("page_first", "INSERT INTO page VALUES (?1, ?2)", "INSERT OR IGNORE INTO doc VALUES (?1, ?3)")
writes("pin_add", "INSERT INTO pin VALUES (?1, ?2)")


@step
def doc_capped(tx: Tx, key: str, folder: str, most: int) -> None:
    if tx.one("SELECT count(*) FROM doc WHERE folder = ?", (folder,))[0] >= most:
        reject("full")
    tx.execute("INSERT INTO doc VALUES (?, ?)", (key, folder))


# --- tags: a NOCASE key ---------------------------------------------------------------------------------------------------

writes("tag_put", "INSERT INTO tag VALUES (?1, 1)")
writes("tag_bump", "INSERT INTO tag VALUES (?1, 1) ON CONFLICT (name) DO UPDATE SET uses = uses + 1")
writes("tag_respell", "UPDATE tag SET name = ?1 WHERE name = ?1")
writes("tag_rename", "UPDATE tag SET name = ?2 WHERE name = ?1")
writes("tag_drop", "DELETE FROM tag WHERE name = ?1")
writes("tag_reborn", "DELETE FROM tag WHERE name = ?1", "INSERT INTO tag VALUES (?1, 1)")
writes("tag_replace", "INSERT OR REPLACE INTO tag VALUES (?1, 7)")


# --- counters, and steps that touch nothing or fail -----------------------------------------------------------------------

_SET = "INSERT INTO counter VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET n = excluded.n"
writes("counter_add", "INSERT INTO counter VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET n = n + excluded.n")
writes("count_items", "INSERT OR REPLACE INTO counter SELECT ?1, count(*) FROM item")
writes("count_pairs", "INSERT OR REPLACE INTO counter SELECT ?1, coalesce(sum(v % 1000), 0) FROM pair")
writes("forbidden", "UPDATE item SET qty = random()")
writes("nothing")


@step
def counter_cap(tx: Tx, name: str, most: int) -> None:
    row = tx.one("SELECT n FROM counter WHERE name = ?", (name,))
    count = 0 if row is None else row[0]
    if count >= most:
        reject(f"{count} of {most}")
    tx.execute(_SET, (name, count + 1))


@step
def place(tx: Tx, name: str) -> None:
    tx.execute(_SET, (name, tx.timestamp.hlc))


@step
def wall(tx: Tx, name: str) -> None:
    tx.execute(_SET, (name, tx.wall_ms))


@step
def dice(tx: Tx, name: str, most: int) -> None:
    tx.execute(_SET, (name, tx.random_int(1, most)))


@step
def refuse(tx: Tx, reason: str) -> None:
    reject(reason)


@step
def fail(tx: Tx) -> None:
    raise ZeroDivisionError("a handler's own mistake")


@step
def try_insert(tx: Tx, key: str, qty: int) -> None:
    # A handler may catch what a constraint says: SQLite has undone the statement alone, and the event goes on.
    try:
        tx.execute("INSERT INTO item (id, qty) VALUES (?, ?)", (key, qty))
    except Exception:  # noqa: BLE001 - which class it is differs between the engine and the models' judge
        STEPS["counter_add"](tx, "clash", 1)


@step
def try_copy(tx: Tx, one: str, other: str) -> None:
    # Rows that the statement inserted before it failed are undone with it, and must not come back with a rewind.
    try:
        STEPS["pair_copy"](tx, one, other)
    except Exception:  # noqa: BLE001 - as above
        STEPS["counter_add"](tx, "clash", 1)
