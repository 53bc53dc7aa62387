"""Fuzz the decoders: `python3 tasks.py fuzz [--minutes N] [--target NAME] [--start SEED] [--guided] [--replay FILE]`.

The minutes are shared by the targets. A finding is saved, and printed with the command that replays it.
"""

import argparse
import logging
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.campaign import run
from tests.fuzz.judging import Target, judge
from tests.fuzz.targets import BY_NAME, TARGETS


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="for all targets together")
    parser.add_argument("--target", choices=sorted(BY_NAME), action="append", help="this one; may be given again")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--guided", action="store_true", help="let atheris choose by coverage (Linux on x86-64)")
    parser.add_argument("--folder", type=Path, default=Path("fuzz-findings"), help="where findings are saved")
    parser.add_argument("--replay", type=Path, help="judge this input only")
    arguments = parser.parse_args()
    logging.disable()  # materializers meet damaged payloads by the thousand, and each would be logged
    targets = [BY_NAME[name] for name in arguments.target] if arguments.target else list(TARGETS)
    if arguments.replay is not None:
        return max(_replay(target, arguments.replay) for target in targets)
    seconds = arguments.minutes * 60 / len(targets)
    one = _guided if arguments.guided else _seeded
    return max([one(target, arguments.start, seconds, arguments.folder) for target in targets])


def _replay(target: Target, path: Path) -> int:
    finding, is_read = judge(target, path.read_bytes())
    print(f"{target.name}: {finding or ('read' if is_read else 'refused as documented')}")
    return 1 if finding else 0


def _seeded(target: Target, start: int, seconds: float, folder: Path) -> int:
    began = time.monotonic()
    tally = run(target, start=start, seconds=seconds, folder=folder)
    took = time.monotonic() - began
    print(
        f"{target.name}: {tally.inputs} inputs, {tally.read} read, {len(tally.findings)} findings, {took:.0f} s",
        flush=True,
    )
    for origin, finding, path in tally.findings:
        print(
            f"  {origin}: {finding}\n    replay: python3 tasks.py fuzz --target {target.name} --replay {path}",
            flush=True,
        )
    return 1 if tally.findings else 0


def _guided(target: Target, start: int, seconds: float, folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.guided", target.name, str(int(seconds)), str(start), str(folder)]
    ended = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    said = ended.stderr.splitlines()
    if ended.returncode == 0:
        inputs = next((line.split()[-1] for line in said if "number_of_executed_units" in line), "?")
        reached = re.findall(r"cov: (\d+)", ended.stderr)
        began, came_to = (reached[0], reached[-1]) if reached else ("?", "?")
        print(f"{target.name}, guided: {inputs} inputs, coverage from {began} to {came_to}, no finding", flush=True)
    else:
        print(f"{target.name}, guided: exit {ended.returncode}\n" + "\n".join(said[-15:]), flush=True)
    return 1 if ended.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
