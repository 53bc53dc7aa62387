"""Results for people, as Markdown tables, and for programs, as JSON; both say when, where and by which command."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import apsw

from bench.rounds import Amount, Figure, Spread
from bench.size import Cost

DEVICE_BYTES_MAX = 300
DEVICE_BYTES_MAX_ALONE = 600
"""With envelopes of one event, whose headers, padding and signatures are most of it."""
RELAY_RATIO_MAX = 1.3


def machine() -> dict[str, str | int]:
    """Say when and where this is measured."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count() or 0,
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "apsw": apsw.apsw_version(),
    }


def heading(command: str) -> str:
    """Give the line above the tables."""
    facts = machine()
    return (
        f"`{command}`, {facts['date']}, {facts['system']}, {facts['cores']} shared cores, "
        f"Python {facts['python']}, SQLite {facts['sqlite']} (apsw {facts['apsw']})"
    )


def speed_table(figures: Sequence[Figure]) -> str:
    """Show speeds. The median of the turns, and in brackets the least and the greatest."""
    rows = [
        (
            figure.work,
            f"{figure.ours.median:,.0f}/s",
            f"{1e6 / figure.ours.median:,.1f} µs",
            f"{figure.floor.median:,.0f}/s {figure.floor_is}",
            _spread(figure.ratio),
            _goal(figure.goal, figure.is_goal_met),
        )
        for figure in figures
    ]
    return _table(("Work", "Driftlog", "an event", "beside", "ratio (least to greatest)", "goal"), rows)


def amount_table(amounts: Sequence[Amount]) -> str:
    """Show what is no speed."""
    rows = [(one.what, f"{one.value:,.4g} {one.unit}".strip(), _goal(one.goal, one.is_goal_met)) for one in amounts]
    return _table(("What", "how much", "goal"), rows)


def size_table(costs: Sequence[Cost]) -> str:
    """Show sizes, in bytes an event."""
    rows = []
    for cost in costs:
        device_max = DEVICE_BYTES_MAX_ALONE if cost.per_envelope == 1 else DEVICE_BYTES_MAX
        relay_max = RELAY_RATIO_MAX * cost.envelope
        rows.append(
            (
                f"{cost.per_envelope}",
                f"{cost.payload:.0f}",
                f"{cost.envelope:.0f}",
                f"{cost.wire_up:.0f} / {cost.wire_down:.0f}",
                f"{cost.relay_file:.0f}",
                _goal(f"≤ {relay_max:.0f}", cost.relay_file <= relay_max),
                f"{cost.device_log:.0f} + {cost.device_undo:.0f} + {cost.device_envelope:.0f} + {cost.device_index:.0f}",
                f"{cost.device:.0f}",
                _goal(f"≤ {device_max}", cost.device <= device_max),
                f"{cost.view:.0f}",
            )
        )
    header = (
        "events an envelope",
        "payload",
        "envelope",
        "wire up / down",
        "relay's file",
        "goal",
        "device: log + undo + envelope + index",
        "device",
        "goal",
        "view",
    )
    return _table(header, rows)


def as_json(command: str, figures: Sequence[Figure], amounts: Sequence[Amount], costs: Sequence[Cost]) -> str:
    """Give everything to a program."""
    results = {
        "command": command,
        "machine": machine(),
        "figures": [asdict(figure) for figure in figures],
        "amounts": [asdict(amount) for amount in amounts],
        "bytes": [{**asdict(cost), "device": cost.device} for cost in costs],
    }
    return json.dumps(results, indent=2)


def _spread(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.least:.2f} to {spread.greatest:.2f})"


def _goal(goal: str, is_met: bool | None) -> str:
    return goal if is_met is None else f"{goal} {'✓' if is_met else '✗'}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
