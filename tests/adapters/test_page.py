"""The code of the page on adapters runs as it stands there."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.browser import Browser, served
from tests.test_readme import blocks

DECLARED, TEXTUAL, QT, STARLETTE = blocks("docs/adapters.md")


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(DECLARED, names)  # noqa: S102 - the page is ours
    yield names
    names["space"].close()


def test_a_table_in_a_terminal(names: dict[str, Any]) -> None:
    exec(TEXTUAL, names)  # noqa: S102
    screen = names["screen"]

    async def run() -> None:
        async with screen.run_test() as pilot:
            names["space"].append(names["TodoAdded"](id="1", text="milk"))
            await pilot.pause()
            await pilot.press("enter")
            await pilot.pause()
            assert [note.message for note in screen._notifications] == ["milk has the id 1"]

    asyncio.run(run())


def test_a_model_of_qt(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    from tests.adapters.qt import application

    loop = application()
    exec(QT.replace("QCoreApplication([])", "QCoreApplication.instance()"), names)  # noqa: S102
    names["space"].append(names["TodoAdded"](id="1", text="milk"))
    loop.sendPostedEvents()

    assert capsys.readouterr().out == "milk is new\n"


def test_a_stream_to_a_browser(names: dict[str, Any]) -> None:
    exec(STARLETTE, names)  # noqa: S102

    async def run() -> None:
        async with served(names["web"]) as port:
            browser = Browser(port)
            await browser.connect("/todos")
            await browser.next()
            names["space"].append(names["TodoAdded"](id="1", text="milk"))
            await browser.next()
            assert browser.rows == [{"id": "1", "text": "milk", "done": 0}]
            await browser.leave()

    asyncio.run(run())
