"""The todos in a window, with Qt: `python -m examples.todos.window`."""

import sys

from examples.todos.app import OPEN_FIRST, TodoRemoved, TodoTicked, add, opened
from PySide6.QtCore import QModelIndex, QPersistentModelIndex, Qt
from PySide6.QtGui import QFont, QKeySequence, QShortcut
from PySide6.QtWidgets import QApplication, QLineEdit, QListView, QVBoxLayout, QWidget

from driftlog import Space
from driftlog.qt import LiveTableModel

Index = QModelIndex | QPersistentModelIndex


class TodoModel(LiveTableModel):
    """Todos that can be ticked; what is done is struck out."""

    def __init__(self, space: Space, parent: QWidget) -> None:
        super().__init__(space, OPEN_FIRST, columns=["text"], parent=parent)
        self.space = space

    def flags(self, index: Index) -> Qt.ItemFlag:
        """Let each be ticked."""
        return super().flags(index) | Qt.ItemFlag.ItemIsUserCheckable

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        """Give the text, its tick and its font."""
        if index.isValid() and role == Qt.ItemDataRole.CheckStateRole:
            return Qt.CheckState.Checked if self.row(index).done else Qt.CheckState.Unchecked
        if index.isValid() and role == Qt.ItemDataRole.FontRole and self.row(index).done:
            font = QFont()
            font.setStrikeOut(True)
            return font
        return super().data(index, role)

    def setData(self, index: Index, value: object, role: int = Qt.ItemDataRole.EditRole) -> bool:  # noqa: N802
        """Append that it is done, or not. The view hears of it as of anything else: by the answer that follows."""
        if role != Qt.ItemDataRole.CheckStateRole:
            return False
        self.space.append(TodoTicked(id=self.row(index).id, done=Qt.CheckState(value) is Qt.CheckState.Checked))
        return True


class Todos(QWidget):
    """The list, and a line to type into."""

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.setWindowTitle("Todos")
        self.space = space
        self.line = QLineEdit(placeholderText="What is to be done?")
        self.view = QListView()
        self.model = TodoModel(space, self)
        self.view.setModel(self.model)
        layout = QVBoxLayout(self)
        layout.addWidget(self.line)
        layout.addWidget(self.view)
        self.line.returnPressed.connect(self.add)
        QShortcut(QKeySequence.StandardKey.Delete, self.view, self.remove, context=Qt.ShortcutContext.WidgetShortcut)

    def add(self) -> None:
        """Add what was typed."""
        add(self.space, self.line.text())
        self.line.clear()

    def remove(self) -> None:
        """Remove the one that is selected."""
        index = self.view.currentIndex()
        if index.isValid():
            self.space.append(TodoRemoved(id=self.model.row(index).id))


if __name__ == "__main__":
    with opened("Todos in a window.") as space:
        application = QApplication(sys.argv[:1])
        window = Todos(space)
        window.show()
        application.exec()
