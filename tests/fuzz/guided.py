"""The coverage-guided half: atheris chooses, by what code its choices reach, what the mutator changes.

Not a target's bytes are fuzzed but the choices of the mutator (`mutating.FromBytes`): a library that flips bits gets past no
tag and no checksum, the mutator past all. Atheris never returns, and instruments what is imported after it: each target is
a process of its own. It has no wheels for every platform and Python: `--guided` needs it, and nothing else does.
"""

import logging
import random
import sys
import tempfile
from pathlib import Path
from typing import Final

FINDING_EXIT: Final = 3
CHOICES_BYTES: Final = 400
"""What five changes of a tree draw, mostly; after these the choices are zeros."""
CORPUS: Final = 200
SLOWNESS: Final = 10.0
"""Instrumented code is some five times slower: time is measured by the other half."""


def main(name: str, seconds: str, seed: str, folder: str) -> None:
    """Fuzz a target for so many seconds, then end the process: with `FINDING_EXIT` if there was a finding."""
    import atheris

    with atheris.instrument_imports(include=["driftlog"]):
        from tests.fuzz.targets import BY_NAME
    from tests.fuzz.campaign import Tally, bounded, take
    from tests.fuzz.mutating import FromBytes, mutated

    logging.disable()
    target = BY_NAME[name]
    tally = Tally()

    def one(choices: bytes) -> None:
        data = mutated(FromBytes(choices), target.seeds)
        take(target, tally, "guided", data, folder=Path(folder), slowness=SLOWNESS)
        if tally.findings:
            _, finding, path = tally.findings[0]
            print(f"  {finding}\n    replay: python3 tasks.py fuzz --target {name} --replay {path}", flush=True)
            raise AssertionError(str(finding))

    with tempfile.TemporaryDirectory() as corpus, bounded():
        draw = random.Random(seed)
        for number in range(CORPUS):
            Path(corpus, str(number)).write_bytes(draw.randbytes(CHOICES_BYTES))
        flags = [f"-max_total_time={seconds}", f"-seed={int(seed) + 1}", f"-max_len={CHOICES_BYTES}", "-len_control=0"]
        bounds = [
            "-timeout=20",
            f"-error_exitcode={FINDING_EXIT}",
            f"-artifact_prefix={folder}/",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *flags, *bounds, corpus], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
