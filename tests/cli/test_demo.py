"""The demo keeps its claims, and leaves nothing behind however it ends."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from driftlog.cli.demonstration import plan
from driftlog.cli.demonstration.result import Result

pytestmark = pytest.mark.slow

DEMO = [sys.executable, "-m", "driftlog.cli.main", "demo", "--events", "16", "--seed", "5"]
SECONDS_MAX = 120


def environment(directory: Path) -> dict[str, str]:
    """Let the demo make its temporary directory where the test can look."""
    return {**os.environ, "TMPDIR": str(directory), "TEMP": str(directory), "TMP": str(directory)}


def test_four_processes_end_alike_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO, "--json"], capture_output=True, text=True, env=environment(tmp_path), timeout=SECONDS_MAX, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["ok"] is True
    assert [check["is_kept"] for check in report["checks"]] == [True] * 4
    assert [device["name"] for device in report["devices"]] == ["Ada", "Ben", "Cleo", "Dora"]
    assert len({device["digest"] for device in report["devices"]}) == 1
    assert {device["events"] for device in report["devices"]} == {sum(d["own_events"] for d in report["devices"])}
    assert all(device["rejected"] >= 1 for device in report["devices"])
    assert list(tmp_path.iterdir()) == []


def test_the_demo_is_readable_without_a_terminal(tmp_path: Path) -> None:
    done = subprocess.run(
        DEMO, capture_output=True, text=True, env=environment(tmp_path), timeout=SECONDS_MAX, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert done.stdout.count("kept") == 4
    assert "Ben has it for a party" in done.stdout
    assert "acknowledged, 0 missing" in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process_and_no_file(tmp_path: Path, number: signal.Signals) -> None:
    demo = subprocess.Popen(
        DEMO, stdout=subprocess.PIPE, text=True, env={**environment(tmp_path), "PYTHONUNBUFFERED": "1"}
    )
    assert demo.stdout is not None
    line = next(line for line in demo.stdout if "processes:" in line)
    pids = [int(found) for found in re.findall(r"\d+", line)]
    assert len(pids) == 4

    demo.send_signal(number)
    demo.communicate(timeout=SECONDS_MAX)

    assert demo.returncode == 130
    assert list(tmp_path.iterdir()) == []
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_plan_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    assert plan.busy("Ada", 1, 50, "apart") == plan.busy("Ada", 1, 50, "apart")
    assert plan.busy("Ada", 1, 50, "apart") != plan.busy("Ada", 2, 50, "apart")
    assert plan.busy("Ada", 1, 50, "apart") != plan.busy("Ben", 1, 50, "apart")


def test_a_run_with_one_broken_claim_is_not_ok() -> None:
    result = Result(seed=1)
    assert not result.is_ok

    result.check("water is wet", is_kept=True, found="it is")
    assert result.is_ok
    result.check("fire is cold", is_kept=False, found="it is not")

    assert not result.is_ok
    assert result.to_json()["ok"] is False
