"""The rest of the models: foreign keys with all they set off, NOCASE keys, counters, and steps that fail."""

from tests.models import INT_MAX, MODELS, Model, Refused, item_insert, lower, model, pair_copy, require

__all__ = ["MODELS"]
"""All models, those of `tests/models.py` too: whoever takes them from here has them all."""

# --- folders, docs, pages, pins, locks ------------------------------------------------------------------------------------


@model
def folder_add(m: Model, key: str, parent: str | None) -> None:
    require(key not in m.tables["folder"])
    m.tables["folder"][key] = (key, parent)
    require(parent is None or parent in m.tables["folder"])


@model
def folder_ensure(m: Model, key: str) -> None:
    m.tables["folder"].setdefault(key, (key, None))


@model
def doc_ensure(m: Model, folder: str, key: str) -> None:
    folder_ensure(m, folder)
    m.tables["doc"].setdefault(key, (key, folder))


@model
def page_ensure(m: Model, folder: str, doc: str, n: int) -> None:
    doc_ensure(m, folder, doc)
    m.tables["page"].setdefault((doc, n), (doc, n))


@model
def folder_drop(m: Model, key: str) -> None:
    """Delete a folder, and all that hangs on it; a locked one below it stops everything."""
    if m.tables["folder"].pop(key, None) is None:
        return
    require(key not in m.tables["lock"])
    for doc in [doc for doc, row in m.tables["doc"].items() if row[1] == key]:
        m.cascades += 1
        doc_drop(m, doc)
    for child in [child for child, row in m.tables["folder"].items() if row[1] == key]:
        m.cascades += 1
        folder_drop(m, child)


@model
def folder_rename(m: Model, key: str, other: str) -> None:
    folders = m.tables["folder"]
    if key not in folders or key == other:
        return
    require(other not in folders and key not in m.tables["lock"])
    folders[other] = (other, folders.pop(key)[1])
    for name, (_, parent) in list(folders.items()):
        if parent == key:
            folders[name] = (name, other)
    for doc, (_, folder) in list(m.tables["doc"].items()):
        if folder == key:
            m.tables["doc"][doc] = (doc, other)


@model
def folder_move(m: Model, key: str, parent: str | None) -> None:
    if key in m.tables["folder"]:
        require(parent is None or parent in m.tables["folder"])
        m.tables["folder"][key] = (key, parent)


@model
def lock_add(m: Model, folder: str) -> None:
    require(folder in m.tables["folder"] and folder not in m.tables["lock"])
    m.tables["lock"][folder] = (folder,)


@model
def lock_drop(m: Model, folder: str) -> None:
    m.tables["lock"].pop(folder, None)


@model
def doc_add(m: Model, key: str, folder: str) -> None:
    require(key not in m.tables["doc"] and folder in m.tables["folder"])
    m.tables["doc"][key] = (key, folder)


@model
def doc_move(m: Model, key: str, folder: str) -> None:
    if key in m.tables["doc"]:
        require(folder in m.tables["folder"])
        m.tables["doc"][key] = (key, folder)


@model
def doc_drop(m: Model, key: str) -> None:
    if m.tables["doc"].pop(key, None) is None:
        return
    for page in [page for page in m.tables["page"] if page[0] == key]:
        m.cascades += 1
        del m.tables["page"][page]
    for n, (_, doc) in list(m.tables["pin"].items()):
        if doc == key:
            m.tables["pin"][n] = (n, None)


@model
def doc_rename(m: Model, key: str, other: str) -> None:
    if key not in m.tables["doc"] or key == other:
        return
    require(other not in m.tables["doc"])
    # A pin follows no renaming, so it stands in its way.
    require(all(doc != key for _, doc in m.tables["pin"].values()))
    m.tables["doc"][other] = (other, m.tables["doc"].pop(key)[1])
    for _, n in [page for page in m.tables["page"] if page[0] == key]:
        del m.tables["page"][key, n]
        require((other, n) not in m.tables["page"])
        m.tables["page"][other, n] = (other, n)


@model
def doc_capped(m: Model, key: str, folder: str, most: int) -> None:
    require(sum(row[1] == folder for row in m.tables["doc"].values()) < most, "full")
    doc_add(m, key, folder)


@model
def page_add(m: Model, doc: str, n: int) -> None:
    require((doc, n) not in m.tables["page"])
    require(m.variant.is_deferred or doc in m.tables["doc"])
    m.tables["page"][doc, n] = (doc, n)


@model
def page_first(m: Model, doc: str, n: int, folder: str) -> None:
    page_add(m, doc, n)
    if doc not in m.tables["doc"]:
        doc_add(m, doc, folder)


@model
def pin_add(m: Model, n: int, doc: str | None) -> None:
    require(n not in m.tables["pin"] and (doc is None or doc in m.tables["doc"]))
    m.tables["pin"][n] = (n, doc)


# --- tags -----------------------------------------------------------------------------------------------------------------


@model
def tag_put(m: Model, name: str) -> None:
    require(lower(name) not in m.tables["tag"])
    m.tables["tag"][lower(name)] = (name, 1)


@model
def tag_bump(m: Model, name: str) -> None:
    spelled, uses = m.tables["tag"].get(lower(name), (name, 0))
    m.tables["tag"][lower(name)] = (spelled, uses + 1)


@model
def tag_respell(m: Model, name: str) -> None:
    tag_rename(m, name, name)


@model
def tag_rename(m: Model, name: str, other: str) -> None:
    key, new = lower(name), lower(other)
    if key in m.tables["tag"]:
        require(key == new or new not in m.tables["tag"])
        m.tables["tag"][new] = (other, m.tables["tag"].pop(key)[1])


@model
def tag_drop(m: Model, name: str) -> None:
    m.tables["tag"].pop(lower(name), None)


@model
def tag_reborn(m: Model, name: str) -> None:
    m.tables["tag"][lower(name)] = (name, 1)


@model
def tag_replace(m: Model, name: str) -> None:
    m.tables["tag"][lower(name)] = (name, 7)


# --- counters, and steps that touch nothing or fail -----------------------------------------------------------------------


def put_counter(m: Model, name: str, n: int) -> None:
    require(-INT_MAX - 1 <= n <= INT_MAX)
    m.tables["counter"][name] = (name, n)


def count(m: Model, name: str) -> int:
    n: int = m.tables["counter"].get(name, (name, 0))[1]
    return n


@model
def counter_add(m: Model, name: str, n: int) -> None:
    put_counter(m, name, count(m, name) + n)


@model
def counter_cap(m: Model, name: str, most: int) -> None:
    require(count(m, name) < most, f"{count(m, name)} of {most}")
    put_counter(m, name, count(m, name) + 1)


@model
def count_items(m: Model, name: str) -> None:
    put_counter(m, name, len(m.tables["item"]))


@model
def count_pairs(m: Model, name: str) -> None:
    put_counter(m, name, sum(row[2] % 1000 for row in m.tables["pair"].values()))


@model
def place(m: Model, name: str) -> None:
    put_counter(m, name, m.hlc)


@model
def wall(m: Model, name: str) -> None:
    put_counter(m, name, m.wall_ms)


@model
def dice(m: Model, name: str, most: int) -> None:
    put_counter(m, name, m.dice.integer(1, most))


@model
def nothing(m: Model) -> None:
    pass


@model
def refuse(m: Model, reason: str) -> None:
    raise Refused(reason)


def _fail(m: Model) -> None:
    raise Refused


MODELS["fail"] = MODELS["forbidden"] = _fail


def tried(m: Model, attempt: list[object]) -> None:
    """Do a step that is one statement, and count when it fails: the statement then leaves nothing behind."""
    name, *arguments = attempt
    before = {table: dict(rows) for table, rows in m.tables.items()}
    try:
        MODELS[str(name)](m, *arguments)
    except Refused:
        m.tables = before
        counter_add(m, "clash", 1)


@model
def try_insert(m: Model, key: str, qty: int) -> None:
    tried(m, [item_insert.__name__, key, qty])


@model
def try_copy(m: Model, one: str, other: str) -> None:
    tried(m, [pair_copy.__name__, one, other])
