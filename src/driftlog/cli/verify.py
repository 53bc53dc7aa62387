"""`driftlog verify` and `driftlog repair`: read all of a space's file, say what in it is damaged, and mend it.

Exit code 1 if anything was found by `verify`; `repair` ends with 0 once it has mended what it found.
"""

import argparse
from dataclasses import asdict

from driftlog._store.damage import Finding
from driftlog.cli.arguments import Subparsers, add_command, add_space, existing
from driftlog.cli.loading import load_app
from driftlog.cli.output import print_json, printable


def add(commands: Subparsers) -> None:
    """Add the commands."""
    add_space(
        add_command(commands, "verify", run, "Read all of the file, and say what in it is not as it was written.")
    )
    add_space(
        add_command(
            commands,
            "repair",
            repair,
            "Mend the file from what in it proves itself; what others hold is fetched again by syncing.",
        )
    )


def run(options: argparse.Namespace) -> int:
    """Verify."""
    app, path = load_app(options.app), existing(options.path)
    with app.open(path) as space:
        findings = space.verify()
    _print(findings, options.json, "nothing is damaged")
    return 1 if findings else 0


def repair(options: argparse.Namespace) -> int:
    """Repair."""
    app, path = load_app(options.app), existing(options.path)
    findings = app.repair(path)
    _print(findings, options.json, "nothing is damaged; the file was left as it is")
    if findings and not options.json:
        print("repaired; sync now, so that what was dropped comes back")
    return 0


def _print(findings: list[Finding], is_json: bool, nothing: str) -> None:
    if is_json:
        print_json([asdict(finding) for finding in findings])
        return
    for finding in findings:
        print(printable(f"{finding.part}: {finding.problem}; {finding.remedy}"))
    if not findings:
        print(nothing)
