"""How the demo is shown: in a terminal, a table that moves under the story; elsewhere, the same as plain lines."""

from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from driftlog.cli.demonstration.process import Device
from driftlog.cli.demonstration.result import Result
from driftlog.cli.output import size

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

FRAMES_PER_SECOND: Final = 10

SENT: Final = "env. sent"
RECEIVED: Final = "env. received"
"""Envelopes, and their bytes. Terminals of 80 columns are still the rule."""

_PHASE_STYLES: Final = {
    "synced": "green",
    "catching up": "yellow",
    "connecting": "yellow",
    "offline": "dim",
    "killed": "bold red",
    "refused": "red",
}


class Silent:
    """Shows nothing, for programs."""

    def watch(self, device: Device) -> None:
        """Look away."""

    def chapter(self, title: str) -> None:
        """Look away."""

    def note(self, text: str) -> None:
        """Look away."""


class Display:
    """Shows the story while it goes on."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._devices: list[Device] = []
        self._stack = ExitStack()
        self._is_begun = False

    def __enter__(self) -> Self:
        from rich.live import Live

        if self._console.is_terminal:
            live = Live(
                get_renderable=self._table,
                console=self._console,
                refresh_per_second=FRAMES_PER_SECOND,
                transient=True,
            )
            self._stack.enter_context(live)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if kind is None and self._is_begun and not self._console.is_terminal:
            self._console.print(self._table())

    def watch(self, device: Device) -> None:
        """Give the device a line of the table."""
        self._devices.append(device)

    def chapter(self, title: str) -> None:
        """Begin a paragraph. Where no table moves, it stands at the end of each."""
        if self._is_begun and not self._console.is_terminal:
            self._console.print(self._table())
        self._is_begun = True
        self._console.print()
        self._console.print(title, style="bold")

    def note(self, text: str) -> None:
        """Say what happened."""
        self._console.print(f"  {text}", markup=False)

    def _table(self) -> "Table":
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, padding=(0, 1, 0, 0))
        table.add_column("  device", style="bold")
        table.add_column("", min_width=11)
        for title in ("events", "pending", "rejected", "replayed", SENT, RECEIVED):
            table.add_column(title, justify="right", no_wrap=True)
        for device in self._devices:
            tick = device.total()
            table.add_row(
                f"  {device.name}",
                Text(tick.phase, _PHASE_STYLES.get(tick.phase, "")),
                f"{tick.events:,}",
                f"{tick.pending:,}",
                f"{tick.rejected:,}",
                f"{tick.replayed:,}",
                _traffic(tick.envelopes_sent, tick.bytes_sent),
                _traffic(tick.envelopes_received, tick.bytes_received),
            )
        return table


def _traffic(envelopes: int, bytes_: int) -> str:
    return f"{envelopes:,} {size(bytes_):>8}"


def show_result(console: "Console", result: Result) -> None:
    """Print the final table, and every claim with what was found."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("  device", style="bold")
    for title in ("events", "rejected", "replayed", SENT, RECEIVED):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("digest", no_wrap=True)
    is_alike = len({device.told.digest for device in result.devices}) == 1
    for device in result.devices:
        table.add_row(
            f"  {device.name}",
            f"{device.told.events:,}",
            f"{len(device.told.rejections):,}",
            f"{device.total.replayed:,}",
            _traffic(device.total.envelopes_sent, device.total.bytes_sent),
            _traffic(device.total.envelopes_received, device.total.bytes_received),
            Text(device.told.digest[:16], "green" if is_alike else "bold red"),
        )
    console.print()
    console.print(f"After {result.seconds:.1f} s", style="bold")
    console.print(table)
    for check in result.checks:
        verdict = ("  kept    ", "green") if check.is_kept else ("  BROKEN  ", "bold red")
        console.print(Text.assemble(verdict, check.claim, (f"\n          {check.found}", "dim")))
