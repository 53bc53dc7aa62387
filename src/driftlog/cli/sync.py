"""`driftlog sync`: exchanges with a relay, once or until Ctrl-C, and says how it stands."""

import argparse
import time
from typing import Final

from driftlog._protocol.device_values import Phase, SyncState
from driftlog.cli.arguments import Subparsers, add_command, add_space, existing, positive
from driftlog.cli.loading import load_app
from driftlog.cli.output import note, print_json, size
from driftlog.errors import RelayError
from driftlog.space.space import Space

LOOK_SECONDS: Final = 0.5
"""How often a person is told how far it is."""

CONNECTED: Final = (Phase.CATCHING_UP, Phase.SYNCED)


def add(commands: Subparsers) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "sync",
        run,
        "Exchange with a relay until Ctrl-C. A relay that cannot be reached is tried again with growing delays.",
    )
    add_space(parser)
    parser.add_argument("url", metavar="URL", help="the relay: wss://relay.example or ws://localhost:8787")
    parser.add_argument("--once", action="store_true", help="end when everything is exchanged and confirmed")
    add_patience(parser)


def add_patience(parser: argparse.ArgumentParser) -> None:
    """Let a command that exchanges once say how long it may be offline."""
    parser.add_argument(
        "--patience",
        type=positive,
        default=20,
        metavar="SECONDS",
        help="when exchanging once, give up after so long without a connection (default 20)",
    )


def run(options: argparse.Namespace) -> int:
    """Exchange."""
    with load_app(options.app).open(existing(options.path)) as space:
        if not options.once:
            return _exchange_on(space, options.url, is_json=options.json)
        state = exchange_once(space, options.url, patience_seconds=options.patience, is_quiet=options.json)
        if options.json:
            print_json(summary(options.url, state) | {"events": space.status().events})
    return 0


def exchange_once(space: Space, url: str, *, patience_seconds: float, is_quiet: bool) -> SyncState:
    """Exchange until both sides hold everything, durably. Raises `RelayError` if it stays offline or is refused."""
    sync = space.sync(url)
    connected = time.monotonic()
    shown = ""
    while not sync.wait(LOOK_SECONDS):
        state = sync.states().get(url, SyncState(Phase.CONNECTING))
        if state.phase is Phase.STOPPED or not sync.is_running:
            raise RelayError(f"{url}: {state.detail}; `driftlog status` tells how this device stands")
        if state.phase in CONNECTED:
            connected = time.monotonic()
        elif time.monotonic() - connected > patience_seconds:
            raise RelayError(f"offline for {patience_seconds:.0f} s: {state.detail}; nothing is lost, sync again later")
        if not is_quiet and line(url, state) != shown:
            shown = line(url, state)
            note(shown)
    state = sync.states()[url]
    sync.stop()
    if not is_quiet:
        note(line(url, state))
    return state


def _exchange_on(space: Space, url: str, *, is_json: bool) -> int:
    sync = space.sync(url)
    shown: SyncState | None = None
    try:
        while True:
            is_running = sync.is_running  # asked first: what it showed last is then read after its end
            state = sync.states().get(url, SyncState(Phase.CONNECTING))
            if state != shown:
                shown = state
                _show(url, state, is_json=is_json)
            if state.phase is Phase.STOPPED or not is_running:
                raise RelayError(f"{url}: the sync ended by itself: {state.detail}; start it again")
            time.sleep(LOOK_SECONDS)
    except KeyboardInterrupt:
        return 0  # it is how this command ends; closing the space stops the sync


def _show(url: str, state: SyncState, *, is_json: bool) -> None:
    if is_json:
        print_json(summary(url, state), is_line=True)
    else:
        print(f"{time.strftime('%H:%M:%S')}  {line(url, state)}", flush=True)


def line(url: str, state: SyncState) -> str:
    """Say in one line how it stands with a relay."""
    detail = f" ({state.detail})" if state.detail else ""
    return (
        f"{url}: {state.phase.value}{detail}, "
        f"sent {_envelopes(state.envelopes_sent)} ({size(state.bytes_sent)}), "
        f"received {_envelopes(state.envelopes_received)} ({size(state.bytes_received)})"
    )


def _envelopes(count: int) -> str:
    return f"{count:,} envelope{'' if count == 1 else 's'}"


def summary(url: str, state: SyncState) -> dict[str, object]:
    """Give how it stands with a relay, for JSON."""
    return {
        "url": url,
        "phase": state.phase.value,
        "detail": state.detail,
        "position": state.position,
        "cursor": state.cursor,
        "envelopes_sent": state.envelopes_sent,
        "bytes_sent": state.bytes_sent,
        "envelopes_received": state.envelopes_received,
        "bytes_received": state.bytes_received,
    }
