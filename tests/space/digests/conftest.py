"""Two or three devices that compare their views, and how often they rebuild them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.space.stating import Fleet, count_rebuilds, opened


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Fleet]:
    yield from opened(Fleet(tmp_path, 2))


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Fleet]:
    yield from opened(Fleet(tmp_path, 3))


@pytest.fixture
def rebuilds(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The devices that have rebuilt their views, as often as they did."""
    return count_rebuilds(monkeypatch)
