"""The zoo: `python3 tasks.py zoo --seeds 40`. Names each mistake with the trials it took, and fails if one is missed.

A trial is a seed of the simulator, or a scenario of the disk with all its cuts.
"""

import argparse
import logging
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.zoo.all import HEALED, MISTAKES
from tests.zoo.mistakes import Found, find


def look(name: str, trials_max: int | None) -> tuple[str, Found | None, float]:
    """Look for one mistake."""
    logging.disable()
    began = time.monotonic()
    found = find((MISTAKES | HEALED)[name], trials_max)
    return name, found, time.monotonic() - began


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="words of the mistakes to make; all if none are given")
    parser.add_argument("--seeds", type=int, help="how many trials each has; as many as the tests allow if not given")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--words", action="store_true", help="say what was found")
    parser.add_argument("--healed", action="store_true", help="make those that are known not to be found")
    asked = parser.parse_args()
    names = [
        name
        for name in (HEALED if asked.healed else MISTAKES)
        if not asked.names or any(word in name for word in asked.names)
    ]
    missed = 0
    spent = 0.0
    with ProcessPoolExecutor(asked.jobs) as pool:
        for name, found, seconds in pool.map(look, names, [asked.seeds] * len(names)):
            missed += found is None
            spent += seconds
            print(f"| {name} | {'not found' if found is None else found.trials} |", flush=True)
            if asked.words and found is not None:
                print(f"    {found.words[:150]} ({seconds:.1f} s)", flush=True)
    print(f"{len(names) - missed} of {len(names)} found, {spent:.0f} s")
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
