"""What pytest finds by itself where Driftlog is installed: the fixtures `driftlog_fleet` and `driftlog_relay`.

It stands beside the package, because importing anything inside imports all of it, in every project whose environment has
Driftlog somewhere. Nothing of Driftlog is imported before a test asks for a fixture.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from driftlog import App
    from driftlog.testing import Crew, RelayThread

_CREWS = pytest.StashKey[list["Crew"]]()


@pytest.fixture
def driftlog_fleet(request: pytest.FixtureRequest) -> "Iterator[Callable[..., Crew]]":
    """Give `make(app, devices=2)`, which gives the devices of a new space, in memory. They are closed after the test.

    When the test fails, the report says in what the devices differ.
    """
    from driftlog.testing import Crew

    crews: list[Crew] = request.node.stash.setdefault(_CREWS, [])

    def make(app: "App", devices: int = 2) -> Crew:
        crews.append(Crew(app, devices))
        return crews[-1]

    yield make
    while crews:
        crews.pop().close()


@pytest.fixture
def driftlog_relay(tmp_path: Path) -> "Iterator[RelayThread]":
    """Give a relay that runs for the length of the test: `space.sync(driftlog_relay.url)`."""
    from driftlog.testing import RelayThread

    relay = RelayThread(tmp_path / "driftlog-relay.db")
    relay.start()
    yield relay
    relay.stop()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: "pytest.CallInfo[None]") -> None:
    """Say of a test that failed how its devices differ. Runs before the report is made, while they are open."""
    if call.when == "call" and call.excinfo is not None:
        for crew in item.stash.get(_CREWS, []):
            item.add_report_section("call", "driftlog fleet", crew.describe())
