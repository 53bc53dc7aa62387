#!/usr/bin/env python3
"""The one entry point for every task: `python3 tasks.py demo`, `python3 tasks.py test`.

Runs on a bare Python 3.11 or newer: it makes `.venv`, installs what `requirements.lock` names, and runs the task there.
Nothing is installed again until the lock or the project's metadata changes.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
STAMP = VENV / "installed"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")


def main() -> int:
    """Run the task that the command line names."""
    if sys.version_info < (3, 11):
        sys.exit(
            f"Driftlog needs Python 3.11 or newer, this is {sys.version.split()[0]}; run tasks.py with a newer one"
        )
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=sorted(TASKS), help="what to run")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="passed on to what is run")
    arguments = parser.parse_args()
    install()
    return TASKS[arguments.task](arguments.rest)


def install() -> None:
    """Make the virtual environment, unless it is there and current."""
    wanted = hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    if STAMP.exists() and STAMP.read_text() == wanted:
        return
    print("tasks: installing into .venv …", flush=True)
    if VENV.exists():
        shutil.rmtree(VENV)
    venv.create(VENV, with_pip=True)
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", str(LOCK)], check=True)
    subprocess.run([*pip, "--no-deps", "-e", str(ROOT)], check=True)
    STAMP.write_text(wanted)


def run(*command: str) -> int:
    """Run a command of the virtual environment, in the project's root."""
    program = BIN / command[0]
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    return subprocess.run([str(program), *command[1:]], cwd=ROOT, env=environment, check=False).returncode


def demo(rest: list[str]) -> int:
    """Show real devices syncing."""
    return run("driftlog", "demo", *rest)


def test(rest: list[str]) -> int:
    """Pass all tests, on all cores."""
    # The simulated seeds stand side by side and are slow: whoever has nothing left to do takes some of the other's.
    return run("pytest", "-n", "auto", "--dist", "worksteal", *rest)


def check(rest: list[str]) -> int:
    """Lint, formatting and types."""
    commands = (["ruff", "check"], ["ruff", "format", "--check"], ["mypy"], ["pyright"])
    # Side by side: each has most to say at its end, and the two slow ones use a core each.
    with ThreadPoolExecutor() as pool:
        return max(pool.map(lambda command: run(*command, *rest), commands))


def bench(rest: list[str]) -> int:
    """Measure, as ratios to a floor of the same run."""
    return run("python", "-m", "bench", *rest)


def campaign(rest: list[str]) -> int:
    """Run full property cases by the ten thousand."""
    return run("python", "-m", "tests.campaign", *rest)


def weaving(rest: list[str]) -> int:
    """Run small cases of late events by the million."""
    return run("python", "-m", "tests.weaving", *rest)


def fuzz(rest: list[str]) -> int:
    """Give every decoder inputs that no encoder made."""
    return run("python", "-m", "tests.fuzz", *rest)


def cuts(rest: list[str]) -> int:
    """Cut the power at every operation of every scenario, and by chance."""
    return run("python", "-m", "tests.cuts", *rest)


def flips(rest: list[str]) -> int:
    """Flip bits of files, and see whether verify finds what that harmed and repair mends it."""
    return run("python", "-m", "tests.flips", *rest)


def kills(rest: list[str]) -> int:
    """Kill devices and relays, and look at what they leave."""
    return run("python", "-m", "tests.kills", *rest)


def night(rest: list[str]) -> int:
    """Run every campaign, each for its share of the time."""
    return run("python", "-m", "tests.night", *rest)


def simulate(rest: list[str]) -> int:
    """Run simulated fleets through faults of all kinds."""
    return run("python", "-m", "driftlog.testing.simulation", *rest)


def zoo(rest: list[str]) -> int:
    """Make deliberate mistakes one at a time, and say how long each takes to be found."""
    return run("python", "-m", "tests.zoo", *rest)


def flights(rest: list[str]) -> int:
    """Sync a year of departures between three airports."""
    return run("python", "-m", "examples.flights", *rest)


def lock(rest: list[str]) -> int:
    """Write `requirements.lock` anew from pyproject.toml (needs uv)."""
    extras = [word for extra in ("cli", "qt", "starlette", "textual") for word in ("--extra", extra)]
    command = ["uv", "pip", "compile", "pyproject.toml", "--group", "dev", *extras, "--universal"]
    options = ["--generate-hashes", "--no-emit-index-url", "--no-annotate", "--quiet", "--output-file", str(LOCK)]
    return subprocess.run([*command, *options, *rest], cwd=ROOT, check=False).returncode


TASKS = {
    "bench": bench,
    "campaign": campaign,
    "weaving": weaving,
    "check": check,
    "cuts": cuts,
    "demo": demo,
    "flights": flights,
    "flips": flips,
    "fuzz": fuzz,
    "kills": kills,
    "lock": lock,
    "night": night,
    "simulate": simulate,
    "test": test,
    "zoo": zoo,
}

if __name__ == "__main__":
    sys.exit(main())
