"""`driftlog status`: where a device stands, without changing anything."""

import argparse
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from driftlog._core.clock import hlc_ms
from driftlog._store.findings import Agreement
from driftlog.cli.arguments import Subparsers, add_command, add_space, existing
from driftlog.cli.loading import load_app
from driftlog.cli.output import console, print_json, printable
from driftlog.space.app import App
from driftlog.space.space import Space
from driftlog.space.status import Comparison, DeviceStatus, Status

if TYPE_CHECKING:
    from rich.table import Table


def add(commands: Subparsers) -> None:
    """Add the command."""
    add_space(add_command(commands, "status", run, "Say where a device stands: events, pending ones, devices, relays."))


def run(options: argparse.Namespace) -> int:
    """Print the status."""
    app = load_app(options.app)
    with app.open(existing(options.path)) as space:
        status = space.status()
        if options.json:
            print_json({"app": app.name, "space": space.space_id, "device": space.device, **_json(status)})
        else:
            _draw(app, space, status)
    return 0


def _json(status: Status) -> dict[str, object]:
    # The conversations of another process are not known here: what this file records of relays is all there is.
    relays = [
        {"url": relay.url, "cursor": relay.cursor, "confirmed_envelopes": relay.confirmed_envelopes}
        for relay in status.relays
    ]
    return {**asdict(status), "relays": relays}


def _draw(app: App, space: Space, status: Status) -> None:
    from rich.text import Text  # texts, not markup: an address such as ws://[::1]:8787 holds brackets

    out = console()
    read_only = " (read-only)" if status.is_read_only else ""
    out.print(Text.assemble((space.space_id[:4].hex(), "bold"), f"  a space of {app.name}{read_only}"))
    out.print(f"{status.events:,} events, of which {_odd(status)}")
    pending = (f"{status.pending:,} pending", "bold")
    out.print(Text.assemble(f"{status.confirmed:,} of this device's are confirmed by a relay, ", pending))
    for name, version in status.needs_upgrade:
        line = f"nothing can be appended here until the app is updated: it does not know {printable(name)} version {version}"
        out.print(Text(line, style="yellow"))
    out.print(Text(_settled(status)))
    for one in status.differing:
        out.print(Text(_differs(one), style="yellow"))
    if status.waiting_envelopes:
        out.print(f"{status.waiting_envelopes:,} envelopes wait for a predecessor; syncing brings it")
    out.print()
    out.print(_devices(status))
    out.print()
    if not status.relays:
        out.print("no relay yet: driftlog sync APP PATH wss://...")
    for relay in status.relays:
        read = f"  read up to position {relay.cursor:,}, own envelopes confirmed up to {relay.confirmed_envelopes:,}"
        out.print(Text.assemble((printable(relay.url), "bold"), read))


def _settled(status: Status) -> str:
    if status.held_back_by is None:
        return "all of it is settled" if status.settled is not None else "nothing is settled, because there is nothing"
    heard = next(device.heard_hlc for device in status.devices if device.device == status.held_back_by)
    since = time.strftime("since %Y-%m-%d %H:%M:%S", time.localtime(hlc_ms(heard) / 1000)) if heard else "yet"
    upto = "nothing is settled" if status.settled is None else f"settled up to {status.settled}"
    return f"{upto}: {status.held_back_by[:4].hex()} has not been heard from {since}"


def _compared(one: Comparison) -> str:
    said = {
        Agreement.EQUAL: "same tables",
        Agreement.MENDED: "tables here were wrong, and were rebuilt",
        Agreement.DIFFERENT: "[yellow]other tables[/]",
        Agreement.SUSPECTED: "[yellow]other tables[/]",
    }
    return f"{said[one.agreement]} ({time.strftime('%Y-%m-%d %H:%M', time.localtime(one.found_ms / 1000))})"


def _differs(one: Comparison) -> str:
    differ = f"the tables differ from those of {one.device[:4].hex()}, which holds the same events"
    if one.agreement is Agreement.SUSPECTED:
        return f"{differ}; driftlog rebuild makes those here anew, if they are wrong"
    return (
        f"{differ}, also after a rebuild here: the other's are wrong, or a materializer is not deterministic; "
        "driftlog.testing.check_determinism finds which"
    )


def _odd(status: Status) -> str:
    odd = {"rejected": status.rejected, "held": status.held, "unknown": status.unknown, "void": status.void}
    return (
        ", ".join(f"{count:,} {name}" for name, count in odd.items() if count) or "none was rejected, held or unknown"
    )


def _devices(status: Status) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("device")
    table.add_column("envelopes", justify="right")
    table.add_column("")
    for device in status.devices:
        table.add_row(device.device[:4].hex(), f"{device.envelopes:,}", _remarks(device))
    return table


def _remarks(device: DeviceStatus) -> str:
    remarks = ["this one"] if device.is_self else []
    if device.is_forked:
        remarks.append("[yellow]forked: it was copied or restored from a backup[/]")
    if device.compared is not None:
        remarks.append(_compared(device.compared))
    if device.held:
        remarks.append(f"[yellow]{device.held:,} events held: its clock was ahead[/]")
    return ", ".join(remarks)
