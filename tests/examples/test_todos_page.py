"""The todos on a page: what is posted is appended, and what is appended is streamed, and shown by a real browser."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from examples.todos.app import TodoAdded, TodoTicked, app
from examples.todos.page import PAGE, web
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from websockets.asyncio.client import connect

from driftlog import Space
from tests.adapters.browser import Browser, served
from tests.test_readme import blocks

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def space(tmp_path: Path) -> Iterator[Space]:
    with app.open(tmp_path / "todos.db") as space:
        space.append(TodoAdded(id="1", text="milk"), TodoAdded(id="2", text="bread"))
        yield space


async def asked(port: int, method: str, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.0\r\nhost: localhost\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode()


def texts(browser: Browser) -> list[str]:
    return [("✓ " if row["done"] else "") + row["text"] for row in browser.rows]


def test_todos_are_posted_ticked_and_removed(space: Space) -> None:
    async def run() -> None:
        async with served(web(space)) as port:
            assert await asked(port, "GET", "/") == await asked(port, "GET", "/")
            assert (await asked(port, "GET", "/")).endswith(PAGE.read_text())
            browser = Browser(port)
            await browser.connect("/todos")
            await browser.next()
            for method, path, shown in (
                ("POST", "/todos?text=figs%20%3Cb%3E", ["bread", "figs <b>", "milk"]),
                ("PUT", "/todos/2?done=true", ["figs <b>", "milk", "✓ bread"]),
                ("PUT", "/todos/2?done=false", ["bread", "figs <b>", "milk"]),
                ("DELETE", "/todos/1", ["bread", "figs <b>"]),
            ):
                assert (await asked(port, method, path)).startswith("HTTP/1.1 204")
                await browser.next()
                assert texts(browser) == shown
            await browser.leave()

    asyncio.run(run())


def test_the_page_does_with_differences_what_the_documentation_says() -> None:
    [script] = blocks("docs/adapters.md", "js")
    assert script in PAGE.read_text()


@asynccontextmanager
async def chromium(url: str, profile: Path) -> AsyncIterator[Any]:
    """Have Chromium show a page, and give a function that evaluates an expression there, or waits for a promise."""
    assert CHROMIUM
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    browser = await asyncio.create_subprocess_exec(
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *quiet),
        *(f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"),
        stderr=subprocess.PIPE,
    )
    assert browser.stderr
    try:
        async with asyncio.timeout(30):
            while not (line := await browser.stderr.readline()).startswith(b"DevTools listening on "):
                assert line, "Chromium has ended"
            debugging = line.split()[-1].decode()
            async with connect(debugging, max_size=None) as connection:
                count = 0

                async def call(method: str, session: str | None = None, **parameters: object) -> Any:
                    nonlocal count
                    count += 1
                    request: dict[str, object] = {"id": count, "method": method, "params": parameters}
                    await connection.send(json.dumps(request | ({"sessionId": session} if session else {})))
                    while (answer := json.loads(await connection.recv())).get("id") != count:
                        pass
                    return answer["result"]

                target = (await call("Target.createTarget", url="about:blank"))["targetId"]
                session = (await call("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
                await call("Page.enable", session)
                await call("Page.navigate", session, url=url)
                while json.loads(await connection.recv()).get("method") != "Page.loadEventFired":
                    pass

                async def evaluated(expression: str) -> Any:
                    result = await call(
                        "Runtime.evaluate", session, expression=expression, awaitPromise=True, returnByValue=True
                    )
                    return result["result"].get("value")

                yield evaluated
    finally:
        browser.kill()
        await browser.wait()


SHOWN = """new Promise((done) => {
  const wanted = %s;
  const shown = () => [...document.querySelectorAll("li")].map((li) => `${li.className} ${li.children[1].innerText}`);
  const look = () => JSON.stringify(shown()) === JSON.stringify(wanted) ? done(true) : setTimeout(look, 1);
  look();
})"""
"""Waits until the list is as wanted: each item's class and text."""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_in_chromium_the_list_updates_itself(space: Space, tmp_path: Path) -> None:
    async def run() -> None:
        async with served(web(space)) as port, chromium(f"http://127.0.0.1:{port}/", tmp_path / "profile") as page:
            assert await page(SHOWN % '[" bread", " milk"]')

            space.append(TodoAdded(id="3", text="<b>figs</b>"), TodoTicked(id="2", done=True))
            assert await page(SHOWN % '[" <b>figs</b>", " milk", "done bread"]')

            await page("document.querySelectorAll('li input')[1].click()")
            assert await page(SHOWN % '[" <b>figs</b>", "done bread", "done milk"]')
            assert space.query("SELECT done FROM todo WHERE id = '1'") == [(1,)]

    asyncio.run(run())


class Wire:
    """A way to a server that can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection, both ways, until either end leaves it."""
        there, here = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, here}
        await asyncio.gather(self._carry(reader, here), self._carry(there, writer))
        self._writers -= {writer, here}

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
        writer.transport.abort()

    def cut(self) -> None:
        """Break off all connections there are."""
        for writer in self._writers:
            writer.transport.abort()


def coming_back_soon(app: ASGIApp, seen: asyncio.Queue[str]) -> ASGIApp:
    """Tell browsers to come back sooner than in their three seconds, and note which last event each request names."""

    async def asked_and_told(scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start" and scope["path"] == "/todos":
                seen.put_nowait(dict(scope["headers"]).get(b"last-event-id", b"").decode())
                await send(message)
                await send({"type": "http.response.body", "body": b"retry: 20\n\n", "more_body": True})
            else:
                await send(message)

        await app(scope, receive, sent)

    return asked_and_told


NOTING = """
window.noted = [];
for (const kind of ["answer", "difference"])
  source.addEventListener(kind, (event) => noted.push([kind, event.lastEventId]));
"""
IS_CONNECTED = """new Promise((done) => {
  const look = () => source.readyState === EventSource.OPEN && !document.body.className ? done(true) : setTimeout(look, 1);
  look();
})"""
"""Waits until the page knows that its stream is there."""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_chromium_whose_connection_is_cut_resumes_by_itself_where_it_was(space: Space, tmp_path: Path) -> None:
    texts = ["figs", "oats", "peas", "rice", "salt"]

    async def run() -> None:
        seen: asyncio.Queue[str] = asyncio.Queue()
        async with served(coming_back_soon(web(space), seen)) as port:
            wire = Wire(port)
            async with await asyncio.start_server(wire.join, "127.0.0.1", 0) as proxy:
                url = f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}/"
                async with chromium(url, tmp_path / "profile") as page:
                    assert await page(SHOWN % '[" bread", " milk"]')
                    await page(NOTING)
                    space.append(*(TodoAdded(id=text, text=text) for text in texts))
                    assert await page(SHOWN % json.dumps([f" {text}" for text in sorted([*texts, "bread", "milk"])]))
                    [[_, first]] = await page("noted")

                    wire.cut()
                    space.append(TodoTicked(id="1", done=True))
                    assert await page(SHOWN % json.dumps([*(f" {text}" for text in ["bread", *texts]), "done milk"]))
                    _, [kind, second] = await page("noted")

                    wire.cut()
                    assert [await seen.get() for _ in range(3)] == ["", first, second]
                    assert await page(IS_CONNECTED)

                    assert kind == "difference"
                    assert len(await page("noted")) == 2

    asyncio.run(run())
