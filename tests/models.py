"""The steps of `tests/programs.py` a second time: plain Python over plain dicts, with SQLite's rules spelled out.

Nothing here knows how the engine applies, undoes or replays an event: a model's tables are copied before each event and
thrown away when the event is refused. `tests/test_models.py` holds these models to what SQLite itself does.
"""

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any

from tests.programs import TABLES, Variant

INT_MAX = 2**63 - 1
ROWID_LAST = INT_MAX
"""The engine refuses this integer key where SQLite numbers rows, because after it SQLite numbers at random."""

Row = tuple[Any, ...]
"""A row's values in the order of its table's columns. `Any`: each table has its own types."""

Tables = dict[str, dict[Any, Row]]
"""Rows by key, by table."""


class Refused(Exception):
    """The event has no effect. `reason` is given where the handler states it."""

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason


def lower(text: str | None) -> str | None:
    """Fold case as NOCASE does: the 26 letters of ASCII."""
    return None if text is None else "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


class Model:
    """The tables of one app, and what is known of the event at hand."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.tables: Tables = {name: {} for name in TABLES}
        self.cascades = 0
        self.hlc = self.wall_ms = 0
        self.dice = Dice(b"")

    def apply(self, hlc: int, event_hash: bytes, wall_ms: int, steps: Iterable[list[Any]]) -> Refused | None:
        """Apply an event, and say why if it was refused."""
        before = {name: dict(rows) for name, rows in self.tables.items()}
        cascades = self.cascades
        self.hlc, self.wall_ms, self.dice = hlc, wall_ms, Dice(event_hash)
        try:
            for name, *arguments in steps:
                MODELS[name](self, *arguments)
            for doc, _ in self.tables["page"]:
                require(doc in self.tables["doc"])
        except Refused as refused:
            self.tables, self.cascades = before, cascades
            return refused
        return None

    def key(self, text: str | None) -> str | None:
        """Give what stands for a text that compares without regard to case in some variants."""
        return lower(text) if self.variant.is_folded else text


class Dice:
    """An event's own random numbers: BLAKE2b blocks of its hash, with values passed over that would favour some."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._blocks = 0
        self._bytes = b""

    def integer(self, low: int, high: int) -> int:
        """Draw from `low` to `high`."""
        span = high - low + 1
        size = max(1, -(-span.bit_length() // 8))
        while True:
            while len(self._bytes) < size:
                block = self._seed + self._blocks.to_bytes(8, "big")
                self._bytes += blake2b(block, digest_size=32, person=b"driftlog random1").digest()
                self._blocks += 1
            drawn, self._bytes = int.from_bytes(self._bytes[:size], "big"), self._bytes[size:]
            if drawn < 256**size - 256**size % span:
                return low + drawn % span


def require(is_kept: bool, reason: str | None = None) -> None:
    """Refuse the event unless a constraint is kept."""
    if not is_kept:
        raise Refused(reason)


ModelFunction = Callable[..., None]
MODELS: dict[str, ModelFunction] = {}


def model(function: ModelFunction) -> ModelFunction:
    """Register the model of a step under its function's name."""
    MODELS[function.__name__] = function
    return function


# --- items ----------------------------------------------------------------------------------------------------------------


def put_item(m: Model, key: str, qty: int) -> None:
    # Past 64 bits SQLite's sum becomes a float, which a STRICT column refuses.
    require(0 <= qty <= INT_MAX)
    m.tables["item"][key] = (key, qty, -qty)


def drop_item(m: Model, key: str) -> None:
    if m.tables["item"].pop(key, None) and m.variant.has_trigger:
        times = m.tables["grave"].get(key, (key, 0))[1]
        m.tables["grave"][key] = (key, times + 1)


@model
def item_insert(m: Model, key: str, qty: int) -> None:
    require(key not in m.tables["item"])
    put_item(m, key, qty)


@model
def item_set(m: Model, key: str, qty: int) -> None:
    if key in m.tables["item"]:
        put_item(m, key, qty)


@model
def item_delete(m: Model, key: str) -> None:
    drop_item(m, key)


@model
def item_upsert(m: Model, key: str, qty: int) -> None:
    # The CHECK is on the row as it was to be inserted, whatever becomes of it then.
    require(qty >= 0)
    put_item(m, key, qty + m.tables["item"].get(key, (key, 0))[1])


@model
def item_rename(m: Model, key: str, other: str) -> None:
    if key in m.tables["item"]:
        require(key == other or other not in m.tables["item"])
        put_item(m, other, m.tables["item"].pop(key)[1])


@model
def item_reborn(m: Model, key: str, qty: int) -> None:
    drop_item(m, key)
    put_item(m, key, qty)


@model
def item_replace(m: Model, key: str, qty: int) -> None:
    # A row that gives way to REPLACE fires no trigger.
    put_item(m, key, qty)


@model
def item_ignore(m: Model, key: str, qty: int) -> None:
    if key not in m.tables["item"] and qty >= 0:
        put_item(m, key, qty)


@model
def item_all(m: Model, qty: int) -> None:
    for key, row in list(m.tables["item"].items()):
        put_item(m, key, row[1] + qty)


@model
def item_capped(m: Model, key: str, qty: int, most: int) -> None:
    require(len(m.tables["item"]) < most, "full")
    item_insert(m, key, qty)


@model
def item_take(m: Model, key: str, count: int) -> None:
    require(key in m.tables["item"], "none")
    qty = m.tables["item"][key][1]
    require(qty >= count, "short")
    put_item(m, key, qty - count)


@model
def item_top(m: Model) -> None:
    if m.tables["item"]:
        drop_item(m, min((-row[1], key) for key, row in m.tables["item"].items())[1])


# --- slots ----------------------------------------------------------------------------------------------------------------


def holder(m: Model, owner: str | None) -> int | None:
    """Give the slot whose owner that is."""
    if owner is None:
        return None
    return next((n for n, (_, held) in m.tables["slot"].items() if m.key(held) == m.key(owner)), None)


def put_slot(m: Model, n: int, owner: str | None) -> None:
    require(not m.variant.is_rowid or n != ROWID_LAST)
    m.tables["slot"][n] = (n, owner)


@model
def slot_put(m: Model, n: int, owner: str | None) -> None:
    require(n not in m.tables["slot"] and holder(m, owner) is None)
    put_slot(m, n, owner)


@model
def slot_auto(m: Model, owner: str | None) -> None:
    require(m.variant.is_rowid)
    slot_put(m, max(m.tables["slot"], default=0) + 1, owner)


@model
def slot_move(m: Model, n: int, other: int) -> None:
    if n in m.tables["slot"]:
        require(n == other or other not in m.tables["slot"])
        put_slot(m, other, m.tables["slot"].pop(n)[1])


@model
def slot_free(m: Model, owner: str | None) -> None:
    n = holder(m, owner)
    if n is not None:
        del m.tables["slot"][n]


@model
def slot_replace(m: Model, n: int, owner: str | None) -> None:
    slot_free(m, owner)
    put_slot(m, n, owner)


@model
def slot_ignore(m: Model, n: int, owner: str | None) -> None:
    if n not in m.tables["slot"] and holder(m, owner) is None:
        put_slot(m, n, owner)


@model
def slot_upsert(m: Model, n: int, owner: str | None) -> None:
    require(holder(m, owner) in (None, n))
    put_slot(m, n, owner)


@model
def slot_shift(m: Model) -> None:
    low = [n for n in m.tables["slot"] if n < 10]
    require(not any(n + 10 in m.tables["slot"] for n in low))
    for n in low:
        put_slot(m, n + 10, m.tables["slot"].pop(n)[1])


@model
def slot_swap(m: Model, one: int, other: int) -> None:
    slots = m.tables["slot"]
    require(one in slots and other in slots, "no slot")
    slots[one], slots[other] = (one, slots[other][1]), (other, slots[one][1])


# --- pairs ----------------------------------------------------------------------------------------------------------------


@model
def pair_set(m: Model, a: str, b: int, v: int) -> None:
    spelled = m.tables["pair"].get((m.key(a), b), (a,))[0]
    m.tables["pair"][m.key(a), b] = (spelled, b, v)


@model
def pair_add(m: Model, a: str, b: int, v: int) -> None:
    require((m.key(a), b) not in m.tables["pair"])
    m.tables["pair"][m.key(a), b] = (a, b, v)


@model
def pair_drop(m: Model, a: str) -> None:
    for key in [key for key in m.tables["pair"] if key[0] == m.key(a)]:
        del m.tables["pair"][key]


@model
def pair_copy(m: Model, a: str, other: str) -> None:
    for b, v in [(b, v) for _, b, v in (row for key, row in m.tables["pair"].items() if key[0] == m.key(a))]:
        require(v < INT_MAX)
        pair_add(m, other, b, v + 1)


@model
def pair_rekey(m: Model, a: str, b: int, other_a: str, other_b: int) -> None:
    key, other = (m.key(a), b), (m.key(other_a), other_b)
    if key in m.tables["pair"]:
        require(key == other or other not in m.tables["pair"])
        m.tables["pair"][other] = (other_a, other_b, m.tables["pair"].pop(key)[2])


@model
def pair_link(m: Model, key: str, b: int) -> None:
    require(key in m.tables["item"], "no item")
    pair_set(m, key, b, m.tables["item"][key][1])
