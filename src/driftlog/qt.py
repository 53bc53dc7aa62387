"""Live queries in Qt: a table model that is fed by the differences between answers. Needs QtCore alone.

Qt's views, selections and proxies hold on to rows by where they are, so each change is announced as just what it is: rows
that go, move, come, and change, one after the other, the model being whole in between. Nothing here appends.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from threading import local
from typing import Final

try:
    from PySide6.QtCore import (
        QAbstractTableModel,
        QByteArray,
        QModelIndex,
        QObject,
        QPersistentModelIndex,
        Qt,
        Signal,
        Slot,
    )
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'PySide6 is the Python of Qt, and is not installed: pip install "driftlog[qt]"', name=error.name
    ) from None

from driftlog._reactive.difference import NO_DIFFERENCE, Difference
from driftlog._sqlite.rows import Parameters, Row, SqlValue
from driftlog.space.answer import Answer, OnError, Subscription
from driftlog.space.space import Space

__all__ = ["LiveTableModel"]

MOVES_MAX: Final = 100
"""Of rows moved one by one. A view lays all of its rows out anew for each; past that, it is told that all may have moved."""

_NOWHERE: Final = QModelIndex()
Index = QModelIndex | QPersistentModelIndex


class LiveTableModel(QAbstractTableModel):
    """The rows of a live query, as a model for `QTableView`, `QListView`, QML's views and proxies.

    It belongs to the thread that makes it, and is empty until that thread's event loop has run. `columns` names those to
    show, and their headings if it is a mapping; without it, all of the query's are shown as soon as there is a row. `key` is
    as with `space.subscribe`. Following ends with the model: when its parent deletes it, when Python lets go of it, or by
    `close()`.

    Each column is also a role of that name, for QML. Where something can be edited, override `flags` and `setData`, and
    append there.
    """

    def __init__(
        self,
        space: Space,
        sql: str,
        parameters: Parameters = (),
        *,
        columns: Mapping[str, str] | Sequence[str] | None = None,
        key: Sequence[str] | None = None,
        on_error: OnError | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._space = space
        self._on_error = on_error
        self._has_given_columns = columns is not None
        self._columns: tuple[str, ...] = tuple(columns or ())
        self._headings: Mapping[str, str] = columns if isinstance(columns, Mapping) else {}
        self._rows: list[Row] = []
        """What is shown, which lags behind the answer within `_show`."""
        self._answer = Answer((), NO_DIFFERENCE, None)
        self._ending = _Ending()
        self.destroyed.connect(self._ending.end)
        weakref.finalize(self, self._ending.end).atexit = False
        self.ask(sql, parameters, key=key)

    # --- what an app asks ---------------------------------------------------------------------------------------------

    def row(self, index: Index | int) -> Row:
        """Give the row at an index, of this model and not of a proxy, or of that number."""
        return self._rows[index if isinstance(index, int) else index.row()]

    def ask(self, sql: str, parameters: Parameters = (), *, key: Sequence[str] | None = None) -> None:
        """Show another query from now on, as a search does while somebody types; rows that stay are kept, and selected."""
        self.close()
        shown = weakref.ref(self)

        def told(answer: Answer) -> None:
            # The space holds this function: were it the model's own method, a model would live as long as its space.
            model = shown()
            if model is not None:
                model._show(answer)

        self._ending.subscription = self._space.subscribe(
            sql, told, parameters, key=key, call_soon=_call_soon_here(), on_error=self._on_error
        )

    def close(self) -> None:
        """Follow the query no more; what is shown stays. May be called twice."""
        self._ending.end()

    # --- what Qt asks ---------------------------------------------------------------------------------------------------

    def rowCount(self, parent: Index = _NOWHERE) -> int:  # noqa: N802 - Qt's names
        """Count rows."""
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = _NOWHERE) -> int:  # noqa: N802
        """Count columns."""
        return 0 if parent.isValid() else len(self._columns)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Give a value: that of its column to be shown or edited, that of the column of the role's name to QML."""
        if not index.isValid():
            return None
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return self._value(index, index.column())
        column = role - Qt.ItemDataRole.UserRole - 1
        return self._value(index, column) if 0 <= column < len(self._columns) else None

    def headerData(  # noqa: N802
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        """Give a column's heading; rows have none."""
        is_shown = orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole
        if not is_shown or not 0 <= section < len(self._columns):
            return None
        return self._headings.get(self._columns[section], self._columns[section])

    def roleNames(self) -> dict[int, QByteArray]:  # noqa: N802
        """Name a role for each column, beside Qt's own."""
        names = super().roleNames()
        for place, name in enumerate(self._columns):
            names[Qt.ItemDataRole.UserRole + 1 + place] = QByteArray(name.encode())
        return names

    def _value(self, index: Index, column: int) -> SqlValue:
        value: SqlValue = self._rows[index.row()][self._columns[column]]
        return value

    # --- showing ----------------------------------------------------------------------------------------------------------

    def _show(self, answer: Answer) -> None:
        names = () if self._has_given_columns or not answer else tuple(answer[0]._asdict())
        if names and names != self._columns:
            self.beginResetModel()
            self._columns, self._rows, self._answer = names, list(answer.rows), answer
            self.endResetModel()
            return
        for name in self._columns if answer else ():
            answer[0][name]  # raises for a column that is not there, before anything is shown
        before, self._answer = self._answer, answer
        # All added: the first answer to another question, or as good as that.
        is_first = len(answer.difference.added) == len(answer)
        difference = answer.since(before).difference if is_first else answer.difference
        self._remove(difference)
        if difference.moved:
            self._move(difference, before)
        self._insert(difference)
        for first, last in _runs([one.index for one in difference.changed]):
            self._rows[first : last + 1] = answer.rows[first : last + 1]
            self.dataChanged.emit(self.index(first, 0), self.index(last, len(self._columns) - 1))
        assert len(self._rows) == len(answer)

    def _remove(self, difference: Difference) -> None:
        # The last first, so that the places of the others are still theirs.
        for first, last in reversed(_runs([one.index for one in difference.removed])):
            self.beginRemoveRows(_NOWHERE, first, last)
            del self._rows[first : last + 1]
            self.endRemoveRows()

    def _insert(self, difference: Difference) -> None:
        # All others stand in their final order by now, so from the first on each place is the final one.
        for first, last in _runs([one.index for one in difference.added]):
            self.beginInsertRows(_NOWHERE, first, last)
            self._rows[first:first] = self._answer.rows[first : last + 1]
            self.endInsertRows()

    def _move(self, difference: Difference, before: Answer) -> None:
        """Bring the rows that were there into their new order."""
        here, wanted = _orders(difference, len(before), len(self._answer))
        if len(difference.moved) > MOVES_MAX:
            self.layoutAboutToBeChanged.emit()
            old = self.persistentIndexList()
            rows = dict(zip(here, self._rows, strict=True))
            self._rows = [rows[one] for one in wanted]
            place_by_one = {one: place for place, one in enumerate(wanted)}
            new = [self.index(place_by_one[here[index.row()]], index.column()) for index in old]
            self.changePersistentIndexList(old, new)
            self.layoutChanged.emit()
            return
        predecessor_by_one = {one: predecessor for predecessor, one in pairwise(wanted)}
        for moved in difference.moved:
            # Right after the one that it follows in the end, which is settled already: it stays, or was moved before.
            source = here.index(moved.before)
            predecessor = predecessor_by_one.get(moved.before)
            target = 0 if predecessor is None else here.index(predecessor) + 1
            is_moved = self.beginMoveRows(_NOWHERE, source, source, _NOWHERE, target)
            assert is_moved, "those that stay are as many as can be, so none of the others stands in its place already"
            target -= source < target
            here.insert(target, here.pop(source))
            self._rows.insert(target, self._rows.pop(source))
            self.endMoveRows()


class _Ending:
    """The subscription of a model, where it can be ended when the model is no more."""

    def __init__(self) -> None:
        self.subscription: Subscription | None = None

    def end(self, *_: object) -> None:
        """Close it."""
        if self.subscription is not None:
            self.subscription.close()


class _Caller(QObject):
    """Calls functions in the thread that made it, through its event loop."""

    called = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.called.connect(self._call, Qt.ConnectionType.QueuedConnection)

    @Slot(object)
    def _call(self, function: Callable[[], None]) -> None:
        function()

    def call_soon(self, function: Callable[[], None]) -> None:
        """Have it called, from any thread."""
        self.called.emit(function)


class _Here(local):
    """One caller for all models of a thread, because a space has 16 ways to be called at most."""

    caller: _Caller | None = None


_here = _Here()


def _call_soon_here() -> Callable[[Callable[[], None]], None]:
    if _here.caller is None:
        _here.caller = _Caller()
    return _here.caller.call_soon


def _orders(difference: Difference, before: int, after: int) -> tuple[list[int], list[int]]:
    """Give the rows that are in both answers, named by their old places, in the old order and in the new."""
    removed = {one.index for one in difference.removed}
    here = [place for place in range(before) if place not in removed]
    moved = {one.before for one in difference.moved}
    one_by_place = {one.index: one.before for one in difference.moved}
    added = {one.index for one in difference.added}
    staying = iter([one for one in here if one not in moved])
    wanted = [one_by_place[new] if new in one_by_place else next(staying) for new in range(after) if new not in added]
    return here, wanted


def _runs(places: Sequence[int]) -> list[tuple[int, int]]:
    """Give the first and the last of each run of neighbours among ascending places."""
    runs: list[tuple[int, int]] = []
    for place in places:
        if runs and runs[-1][1] == place - 1:
            runs[-1] = (runs[-1][0], place)
        else:
            runs.append((place, place))
    return runs
