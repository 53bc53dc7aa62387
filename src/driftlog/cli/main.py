"""The entry point: reads the command line, runs one command, and turns what went wrong into a sentence and a code.

Exit codes: 0, it worked; 1, it did not, and one sentence on standard error says why; 2, the command line was wrong;
130, it was interrupted before it was done.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

from driftlog.cli import at, demo, invite, join, log, rebuild, relay, simulate, status, sync, verify, why
from driftlog.cli.arguments import Subparsers, UsageError
from driftlog.errors import DriftlogError, InvalidKey

FAILED: Final = 1
MISUSED: Final = 2
INTERRUPTED: Final = 130
"""What shells give for a program that Ctrl-C ended: 128 and the number of SIGINT."""

_COMMANDS: Final[tuple[Callable[[Subparsers], None], ...]] = (
    demo.add,
    relay.add,
    join.add,
    invite.add,
    sync.add,
    status.add,
    log.add,
    why.add,
    at.add,
    rebuild.add,
    verify.add,
    simulate.add,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (by default the process's own arguments) names, and give the exit code."""
    parser = _parser()
    try:
        options = parser.parse_args(argv)
    except SystemExit as end:  # argparse has printed the usage, or the help that was asked for
        return end.code if isinstance(end.code, int) else MISUSED
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except (UsageError, InvalidKey) as error:
        return _complain(error, MISUSED)
    except DriftlogError as error:
        return _complain(error, FAILED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output, such as `head`, has seen enough. Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="driftlog",
        description="Local-first event sourcing: an append-only log and SQL tables on every device.",
        epilog="APP is module:attribute or file.py:attribute and names an App; PATH is the database of a space.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in _COMMANDS:
        add(commands)
    return parser


def _complain(error: DriftlogError, code: int) -> int:
    print(f"driftlog: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
