"""`driftlog relay`: runs the blind relay in the foreground until Ctrl-C; with `--verify`, reads all of its file instead.

Exit code 1 if `--verify` found anything.
"""

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from driftlog.cli.arguments import Subparsers, add_command, quoted
from driftlog.cli.output import print_json, printable
from driftlog.errors import StorageError
from driftlog.relay.damage import REMEDY
from driftlog.relay.server import DEFAULT_PORT, Relay, RelayConfig, serve_forever
from driftlog.relay.verifying import holds_nothing, verify_file

_LOG: Final = logging.getLogger("driftlog.relay")


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "relay",
        run,
        "Run a relay in the foreground. It serves any number of apps and spaces, needs no accounts, and cannot read what "
        "it keeps. Ctrl-C ends it; what it has acknowledged is on disk. For use beyond this machine, put a proxy that "
        "speaks TLS in front of it.",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1: this machine only)"
    )
    parser.add_argument(
        "--port", type=_port, default=DEFAULT_PORT, help=f"port (default {DEFAULT_PORT}; 0: any free one)"
    )
    parser.add_argument(
        "--db", type=Path, default=Path("relay.db"), help="its database (default relay.db; made if missing)"
    )
    parser.add_argument(
        "--verify", action="store_true", help="serve nobody; read all of the database, and say what in it is damaged"
    )


def run(options: argparse.Namespace) -> int:
    """Serve until interrupted, or verify."""
    if options.verify:
        return _verify(options.db, is_json=options.json)
    config = RelayConfig(options.db, options.host, options.port)
    try:
        with _logging(is_json=options.json):
            asyncio.run(serve_forever(config, _say_where))
    except OSError as error:
        raise StorageError(
            f"cannot listen on {config.host}, port {config.port}: {error.strerror or error}; give another --host or --port"
        ) from error
    return 0


def _verify(path: Path, *, is_json: bool) -> int:
    problems = verify_file(path)
    if is_json:
        print_json(problems)
    else:
        for problem in problems:
            print(printable(problem))
        if problems:
            print(REMEDY)
        else:
            print("it holds nothing yet" if holds_nothing(path) else "nothing is damaged")
    return 1 if problems else 0


def _say_where(relay: Relay) -> None:
    _LOG.info('devices connect with space.sync("%s"); Ctrl-C ends it', relay.url)


@contextmanager
def _logging(*, is_json: bool) -> Iterator[None]:
    """Let what the relay logs be read, on standard error; as JSON, on standard output."""
    handler = logging.StreamHandler(sys.stdout if is_json else sys.stderr)
    handler.setFormatter(JsonFormatter() if is_json else logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    level = _LOG.level
    _LOG.addHandler(handler)
    _LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        _LOG.removeHandler(handler)
        _LOG.setLevel(level)


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the line."""
        return json.dumps(
            {"at": round(record.created, 3), "level": record.levelname.lower(), "text": record.getMessage()}
        )


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not a port; give a number from 0 to 65535")
    return int(text)
