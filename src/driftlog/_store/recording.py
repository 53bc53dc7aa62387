"""What one event did to the view, as it is recorded while its materializer runs: undo data, and the cells it touched.

The preupdate hook gives the rows that changed, before and after. The statements give what was looked at (`_store/access`).
In the log, undo data names the changed rows already; `touch` holds only the cells beyond these, and is nearly always empty.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import apsw
import msgspec

from driftlog._core.touch import UNTOUCHED, Cell, Touch
from driftlog._sqlite.cells import Constraints
from driftlog._sqlite.rows import Parameters, SqlValue
from driftlog._sqlite.tables import TableSet
from driftlog._store.access import Access
from driftlog._store.program import Rejection
from driftlog.errors import Corrupt

ROWID_LAST: Final = (1 << 63) - 1
"""With a row at this integer key, SQLite chooses the next key at random."""

Image = tuple[int, Any]
"""Table index and key: a row's identity among the images, and its cell. A key of one column is that value, of more their
tuple."""

RowImage = tuple[SqlValue, ...] | None
"""A row as it was, all columns; None where there was none."""

_Facts = tuple[int, Callable[[Sequence[Any]], Any], bool, Constraints | None]
"""A table's index, how to get a row's key, whether that is the rowid, and its constraints, None for none."""

# msgspec cannot state a union of text and bytes; the file is ours, and what is read is asserted where it is taken apart.
_Lists = tuple[list[list[Any]], list[list[Any]]]
encode = msgspec.msgpack.Encoder().encode
unpack_undo = msgspec.msgpack.Decoder(_Lists).decode
"""Takes undo data apart: the keys of rows that were not there, and the rows that were, each after its table's index."""

UNREADABLE: Final = (msgspec.DecodeError, ValueError, TypeError, LookupError, RecursionError)
"""What comes of reading undo data that rot has reached: its shape is known from what wrote it, and not looked at first."""


def damaged_undo(error: BaseException) -> Corrupt:
    """Say that undo data cannot be read, or not be put back."""
    return Corrupt(f"undo data in the log is damaged ({type(error).__name__}); run repair on the file")


# A named tuple's own call puts its fields together in Python.
_named: Final = tuple.__new__


class Recorder:
    """Records one event at a time."""

    def __init__(self, tables: TableSet) -> None:
        self.rows = Rows(tables)
        self._table_by_name = {table.name: table for table in tables.tables}
        # What is asked of every change, without asking the tables each time.
        self._facts_by_name: Mapping[str, _Facts] = {
            table.name: (
                table.index,
                self.rows.key_of[table.index],
                table.is_rowid,
                None if table.constraints.is_plain else table.constraints,
            )
            for table in tables.tables
        }
        self.changes: list[tuple[str, str, Any, Any]] = []
        """Table, operation, the row before and after, of each change so far."""
        self._is_unreadable = False
        self._reads: set[Cell] = set()

    def begin(self) -> None:
        """Forget the last event."""
        self.changes.clear()
        self._is_unreadable = False
        if self._reads:
            self._reads.clear()

    def keep_image(self, change: apsw.PreUpdate) -> None:
        """Keep a row as it is before and after a change. The preupdate hook."""
        try:
            self.changes.append((change.table_name, change.op, change.old, change.new))
        except UnicodeDecodeError:
            # The row is changed all the same, whether or not the materializer catches this.
            self._is_unreadable = True
            raise

    def note(self, access: Access, parameters: Parameters, changes_before: int) -> None:
        """Note what a statement read that has run; `changes_before` is the count of changes before it."""
        row = access.row
        if access.reads:
            self._reads.update(access.reads)
        if access.is_write and len(self.changes) > changes_before:
            if access.numbers_rows is not None and (row is None or row.cell(parameters) is None):
                self._reads.add(access.numbers_rows)
        elif row is not None:
            # The row was looked at. If it was changed, too, its image says so.
            self._reads.add(row.cell(parameters) or (row.table,))

    def note_row(self, table: int, key: tuple[SqlValue, ...]) -> None:
        """Note a row that is looked at by something else than its key."""
        self._reads.add((table, key[0] if len(key) == 1 else key))

    def note_failure(self, access: Access, parameters: Parameters) -> None:
        """Note what a statement read that was stopped: it may have been stopped by any row it could have met."""
        self._reads.update(access.reads)
        self._reads.update(access.if_failed)
        if access.row is not None:
            self._reads.add(access.row.cell(parameters) or (access.row.table,))

    def finish(self) -> tuple[bytes | None, bytes | None]:
        """Give the undo data of what was changed, and the touch data of what was touched besides; None for nothing."""
        if self._is_unreadable:
            raise Rejection("a row holds text that is not UTF-8")
        if len(self.changes) == 1 and not self._reads:
            # What nearly every event does, without what only more would need.
            [(name, operation, old, new)] = self.changes
            index, key, is_rowid, constraints = self._facts_by_name[name]
            if constraints is None and not is_rowid:
                if operation == "INSERT":
                    value = key(new)
                    return encode((((index, *value) if type(value) is tuple else (index, value),), ())), None
                if operation == "DELETE" or key(old) == key(new):
                    return encode(((), ((index, *old),))), None
        images: dict[Image, RowImage] = {}
        writes: set[Cell] = set()
        for name, operation, old, new in self.changes:
            index, key, is_rowid, constraints = self._facts_by_name[name]
            if operation != "INSERT":
                images.setdefault((index, key(old)), old)
            if operation != "DELETE":
                if is_rowid and key(new) == ROWID_LAST:
                    raise Rejection(
                        f"{name} may not hold the integer key {ROWID_LAST}: SQLite would draw later keys at random"
                    )
                images.setdefault((index, key(new)), None)
            if constraints is not None:
                constraints.touched_by(old, new, self._reads, writes)
        touch = None
        if writes or self._reads:
            # What is written is read, too, and need not be said twice.
            touch = self.rows.pack_touch([cell for cell in self._reads if cell not in images], writes)
        return pack_undo(images) if images else None, touch

    def images(self) -> dict[Image, RowImage] | None:
        """Give the rows that were changed as they were, to put them back; None if one of them could not be read."""
        if self._is_unreadable:
            return None
        images: dict[Image, RowImage] = {}
        for name, _, old, new in self.changes:
            index, key, _, _ = self._facts_by_name[name]
            if old is not None:
                images.setdefault((index, key(old)), old)
            if new is not None:
                images.setdefault((index, key(new)), None)
        return images

    def finish_rejected(self) -> bytes | None:
        """Give the touch data of an event that was rejected: all it came across has a part in that."""
        writes: set[Cell] = set()
        for name, _, old, new in self.changes:
            table = self._table_by_name[name]
            key = self.rows.key_of[table.index]
            self._reads.update((table.index, key(row)) for row in (old, new) if row is not None)
            if table.constraints.is_coarse:
                self._reads.add((table.index,))
            table.constraints.touched_by(old, new, self._reads, writes)
        self._reads |= writes
        return self.rows.pack_touch(self._reads, ()) if self._reads else None


class Rows:
    """How rows and cells of the app's tables are written in the log, and read again."""

    def __init__(self, tables: TableSet) -> None:
        self.key_of = [itemgetter(*table.key) for table in tables.tables]
        self._is_coarse = [table.constraints.is_coarse for table in tables.tables]
        self._has_coarse = any(self._is_coarse)
        # Of a row as undo data has it, after its table's index.
        self._key_of_flat = [itemgetter(*[place + 1 for place in table.key]) for table in tables.tables]
        self._key_sizes = [len(table.key) for table in tables.tables]

    def pack_touch(self, reads: Any, writes: Any) -> bytes:
        """Give touch data: cells as lists of their space and the values of their key."""
        return encode(([_flat(cell) for cell in reads], [_flat(cell) for cell in writes]))

    def touch(self, undo: bytes | None, touch: bytes | None) -> Touch:
        """Give the cells of an event from its undo and touch data. Raises `Corrupt`."""
        if undo is None and touch is None:
            return UNTOUCHED
        try:
            return self._touch(undo, touch)
        except UNREADABLE as error:
            raise damaged_undo(error) from error

    def _touch(self, undo: bytes | None, touch: bytes | None) -> Touch:
        written: list[Cell] = []
        if undo is not None:
            absent, present = unpack_undo(undo)
            written += [(flat[0], flat[1] if len(flat) == 2 else tuple(flat[1:])) for flat in absent]
            written += [(flat[0], self._key_of_flat[flat[0]](flat)) for flat in present]
            if self._has_coarse:
                written += [(index,) for index in {cell[0] for cell in written} if self._is_coarse[index]]
        if touch is None:
            return _named(Touch, ((), tuple(written)))
        reads, others = unpack_undo(touch)
        # A whole table may be named on both sides.
        writes = dict.fromkeys([*written, *map(self._cell, others)])
        return _named(Touch, (tuple(map(self._cell, reads)), tuple(writes)))

    def _cell(self, flat: list[Any]) -> Cell:
        space, *key = flat
        if type(space) is not int or space < 0:
            raise _no_index(space)
        if not key:
            return (space,)
        is_single = space < len(self._key_sizes) and self._key_sizes[space] == 1
        return (space, key[0] if is_single else tuple(key))

    def merge(self, undos: Any) -> dict[Image, RowImage]:
        """Merge undo data, from the oldest to the newest: of each row, the oldest image. Raises `Corrupt`."""
        images: dict[Image, RowImage] = {}
        for undo in undos:
            try:
                self._add(images, undo)
            except UNREADABLE as error:
                raise damaged_undo(error) from error
        return images

    def _add(self, images: dict[Image, RowImage], undo: bytes) -> None:
        absent, present = unpack_undo(undo)
        for index, *key in absent:
            if type(index) is not int or index < 0:
                raise _no_index(index)
            images.setdefault((index, key[0] if len(key) == 1 else tuple(key)), None)
        for index, *row in present:
            if type(index) is not int or index < 0:
                raise _no_index(index)
            images.setdefault((index, self.key_of[index](row)), tuple(row))


def _no_index(found: object) -> LookupError:
    return LookupError(f"a table's index that is {type(found).__name__}, or negative")


def _flat(cell: Cell) -> tuple[Any, ...]:
    if len(cell) == 1:
        return cell
    space, key = cell
    return (space, *key) if type(key) is tuple else (space, key)


def pack_undo(images: Mapping[Image, RowImage]) -> bytes:
    """Give undo data: the keys of rows that were not there, and the rows that were, each after its table's index."""
    absent: list[tuple[Any, ...]] = []
    present: list[tuple[Any, ...]] = []
    for (index, key), row in images.items():
        if row is not None:
            present.append((index, *row))
        elif type(key) is tuple:
            absent.append((index, *key))
        else:
            absent.append((index, key))
    return encode((absent, present))
