"""Draw random steps: few keys and small numbers so that they meet, and now and then the ends of every range."""

import random
from typing import Final

from tests.programs import Did, DidAgain, DidLately, Step

INT_MAX: Final = 2**63 - 1

ARGUMENTS: Final = {
    "item_insert": "iq", "item_set": "iq", "item_delete": "i", "item_upsert": "iq", "item_rename": "ii",
    "item_reborn": "iq", "item_replace": "iq", "item_ignore": "iq", "item_all": "q", "item_capped": "iqk",
    "item_take": "ik", "item_top": "",
    "slot_put": "no", "slot_auto": "o", "slot_move": "nn", "slot_free": "o", "slot_replace": "no", "slot_ignore": "no",
    "slot_upsert": "no", "slot_shift": "", "slot_swap": "nn",
    "pair_set": "abv", "pair_add": "abv", "pair_drop": "a", "pair_copy": "aa", "pair_rekey": "abab", "pair_link": "ib",
    "folder_add": "fF", "folder_ensure": "f", "folder_drop": "f", "folder_rename": "ff", "folder_move": "fF",
    "lock_add": "f", "lock_drop": "f",
    "doc_ensure": "fd", "page_ensure": "fdb", "doc_add": "df", "doc_move": "df", "doc_drop": "d", "doc_rename": "dd",
    "doc_capped": "dfk", "page_add": "db", "page_first": "dbf", "pin_add": "bD",
    "tag_put": "t", "tag_bump": "t", "tag_respell": "t", "tag_rename": "tt", "tag_drop": "t", "tag_reborn": "t",
    "tag_replace": "t",
    "counter_add": "cq", "counter_cap": "ck", "count_items": "c", "count_pairs": "c", "place": "c", "wall": "c",
    "dice": "cm",
    "nothing": "", "refuse": "r", "fail": "", "forbidden": "", "try_insert": "iq", "try_copy": "aa",
}  # fmt: skip
"""Each step's arguments, by kind."""

VALUES: Final[dict[str, tuple[tuple[str | int | None, ...], tuple[str | int | None, ...]]]] = {
    # The usual values, and those that are drawn one time in twelve.
    "i": (("a", "b", "c"), ("A", "é", "")),
    "q": ((0, 1, 2, 5), (-1, 2**62, INT_MAX)),
    "k": ((1, 2, 3), (0,)),
    "n": ((0, 1, 2, 3), (11, INT_MAX)),
    "o": (("x", "X", "y"), (None, "é", "É")),
    "a": (("a", "A", "b"), ("é", "É")),
    "b": ((0, 1), (2, -(2**63))),
    "v": ((0, 1, 2), (INT_MAX,)),
    "f": (("f", "g", "h"), ("F",)),
    "F": (("f", "g", None), ("h",)),
    "d": (("p", "q"), ("r",)),
    "D": (("p", "q"), (None, "r")),
    "t": (("a", "A", "b"), ("B", "é", "É")),
    "c": (("c", "d"), ("clash",)),
    "m": ((6, 256), (1, 300, 10**12)),
    "r": (("no",), ("not so", "é")),
}

FAMILIES: Final = ("item", "slot", "pair", "tree", "tag", "rest")
_TREE = ("folder", "lock", "doc", "page", "pin")


def _family(step: str) -> str:
    prefix = step.partition("_")[0]
    return "tree" if prefix in _TREE else prefix if prefix in FAMILIES else "rest"


CONTENTIOUS: Final = {
    "item_insert", "item_capped", "item_take", "slot_put", "slot_move", "slot_swap", "pair_add", "pair_copy",
    "folder_add", "folder_drop", "folder_rename", "doc_add", "doc_capped", "doc_drop", "page_first", "tag_put",
    "tag_rename", "counter_cap", "pair_link",
}  # fmt: skip
"""What two devices can both do, each for itself, and not one after the other: drawn three times as often as the rest."""

STEPS_BY_FAMILY: Final = {
    family: [
        (name, kinds)
        for name, kinds in ARGUMENTS.items()
        if _family(name) == family
        for _ in range(3 if name in CONTENTIOUS else 1)
    ]
    for family in FAMILIES
}

BEGINNINGS: Final = (
    ("item_ignore", "iq"), ("slot_ignore", "no"), ("pair_set", "abv"), ("tag_bump", "t"), ("doc_ensure", "fd"),
    ("page_ensure", "fdb"),
)  # fmt: skip


class Taste:
    """What one case likes to do: a few families, so that its events meet in the same rows."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._families = rng.sample(FAMILIES, rng.choice((1, 1, 2, 2, 3)))

    def steps(self) -> list[Step]:
        """Draw the steps of an event."""
        return [self._step() for _ in range(self._rng.choice((1, 1, 1, 2, 2, 3, 5)))]

    def beginning(self) -> Did:
        """Draw an event that makes rows for others to meet in. It is never refused."""
        return Did(steps=[self._drawn(*self._rng.choice(BEGINNINGS)) for _ in range(4)])

    def _step(self) -> Step:
        rng = self._rng
        family = rng.choice(self._families) if rng.random() < 0.9 else rng.choice(FAMILIES)
        return self._drawn(*rng.choice(STEPS_BY_FAMILY[family]))

    def _drawn(self, name: str, kinds: str) -> Step:
        rng = self._rng
        return [name, *(rng.choice(VALUES[kind][rng.random() < 1 / 12]) for kind in kinds)]

    def event(self, *, is_new: bool) -> Did | DidAgain | DidLately:
        """Draw an event of a type that the app's newer version, or any, knows."""
        kinds = (Did, Did, DidAgain, DidLately) if is_new else (Did, Did, DidAgain)
        return self._rng.choice(kinds)(steps=self.steps())
