"""Qt in tests: one application a process, without a screen, and none where its libraries are not to be had."""

import os

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

pytest.importorskip("PySide6.QtCore", reason="PySide6 cannot be imported here", exc_type=ImportError)

from PySide6.QtCore import QCoreApplication

_kept: list[QCoreApplication] = []


def application() -> QCoreApplication:
    """Give the process's application: with windows where the libraries for that are there."""
    if not _kept:
        try:
            from PySide6.QtWidgets import QApplication
        except ImportError:
            _kept.append(QCoreApplication([]))
        else:
            _kept.append(QApplication([]))
    return _kept[0]
