"""`driftlog rebuild`: makes the tables anew from the log, and tells how far it is."""

import argparse
import sys
import time

from driftlog.cli.arguments import Subparsers, add_command, add_space, existing
from driftlog.cli.loading import load_app
from driftlog.cli.output import console, print_json


def add(commands: Subparsers) -> None:
    """Add the command."""
    add_space(
        add_command(
            commands,
            "rebuild",
            run,
            "Make the tables anew from the log, in one transaction. Interrupted, it leaves the tables as they were.",
        )
    )


def run(options: argparse.Namespace) -> int:
    """Rebuild."""
    with load_app(options.app).open(existing(options.path)) as space:
        before = space.digest()
        begun = time.perf_counter()
        if options.json or not sys.stderr.isatty():
            replayed = space.rebuild()
        else:
            total = space.status().events
            from_rich = console(is_error=True)
            with from_rich.status("replaying") as line:
                replayed = space.rebuild(lambda done: line.update(f"replaying {done:,} of {total:,} events"))
        seconds = time.perf_counter() - begun
        after = space.digest()
    if options.json:
        print_json(
            {"replayed": replayed, "seconds": round(seconds, 3), "digest": after, "was_different": before != after}
        )
    else:
        print(f"{replayed:,} events replayed in {seconds:.1f} s; {_verdict(before, after)}")
    return 0


def _verdict(before: bytes, after: bytes) -> str:
    if before == after:
        return f"the tables are as they were, digest {after[:8].hex()}"
    return f"the tables were different from what the log says, and are mended; digest {after[:8].hex()}"
