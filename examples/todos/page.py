"""The todos on a page, with Starlette: `python -m examples.todos.page`, then http://127.0.0.1:8000."""

from pathlib import Path

import uvicorn
from examples.todos.app import OPEN_FIRST, TodoRemoved, TodoTicked, add, opened
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from driftlog import Space
from driftlog.starlette import LiveResponse

PAGE = Path(__file__).with_name("page.html")


def web(space: Space) -> Starlette:
    """Give the server: a page, the stream that it shows, and what it may append."""

    async def page(request: Request) -> Response:
        del request
        return HTMLResponse(PAGE.read_text(encoding="utf-8"))

    async def stream(request: Request) -> Response:
        return LiveResponse(request, space, OPEN_FIRST)

    # Not `async`: Starlette calls these in threads, where an append may wait for the disk.
    def add_one(request: Request) -> Response:
        add(space, request.query_params["text"])
        return Response(status_code=204)

    def tick(request: Request) -> Response:
        done = request.query_params["done"] == "true"
        space.append(TodoTicked(id=request.path_params["id"], done=done))
        return Response(status_code=204)

    def remove(request: Request) -> Response:
        space.append(TodoRemoved(id=request.path_params["id"]))
        return Response(status_code=204)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/todos", stream),
            Route("/todos", add_one, methods=["POST"]),
            Route("/todos/{id}", tick, methods=["PUT"]),
            Route("/todos/{id}", remove, methods=["DELETE"]),
        ]
    )


if __name__ == "__main__":
    with opened("Todos on a page, for this machine alone.") as space:
        # A stream has no end of its own to wait for.
        uvicorn.run(web(space), host="127.0.0.1", port=8000, timeout_graceful_shutdown=1)
