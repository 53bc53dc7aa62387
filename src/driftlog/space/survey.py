"""Gathers what `space.status()` reports from the store, in a handful of queries that the log's length does not slow much."""

from collections.abc import Mapping

from driftlog._core.ids import DeviceKey
from driftlog._protocol.device_values import SyncState
from driftlog._store.critical import awaited_types
from driftlog._store.findings import Agreement, read_findings
from driftlog._store.log import STATES, State
from driftlog._store.settled import horizon
from driftlog._store.store import Store
from driftlog.space.comparing import comparison
from driftlog.space.status import DeviceStatus, RelayStatus, Status


def survey(store: Store, own: DeviceKey, states: Mapping[str, SyncState], *, is_read_only: bool) -> Status:
    """Read the state of a space, under its lock."""
    count_by_state = {STATES[number]: count for number, count in store.meta.count_states().items()}
    pending = store.pending()
    own_events = store.log.count_own_after(own, -1)
    waiting, void = store.chains.count_waiting_and_void()
    seen = horizon(store.connection, own)
    devices = _devices(store, own, seen.heard_by_device)
    compared = [device.compared for device in devices if device.compared is not None]
    return Status(
        pending=pending,
        confirmed=own_events - pending,
        events=store.log.count(),
        rejected=count_by_state.get(State.REJECTED, 0),
        held=count_by_state.get(State.HELD, 0),
        unknown=count_by_state.get(State.UNKNOWN, 0),
        waiting_envelopes=waiting,
        void=void,
        devices=devices,
        relays=_relays(store, states),
        is_read_only=is_read_only,
        settled=store.log.last_placed_up_to(seen.hlc),
        held_back_by=seen.held_back_by,
        needs_upgrade=awaited_types(store.connection),
        differing=tuple(one for one in compared if one.agreement in (Agreement.DIFFERENT, Agreement.SUSPECTED)),
    )


def _devices(store: Store, own: DeviceKey, heard_by_device: Mapping[DeviceKey, int]) -> tuple[DeviceStatus, ...]:
    vector = store.chains.version_vector()
    held_by_device = store.log.count_held_by_device()
    findings = read_findings(store.meta)
    return tuple(
        DeviceStatus(
            device=device,
            is_self=device == own,
            envelopes=vector.seq(device),
            is_forked=len(vector.get(device, ())) > 1,
            held=held_by_device.get(device, 0),
            heard_hlc=heard_by_device[device],
            compared=comparison(findings, device),
        )
        for device in sorted(heard_by_device)
    )


def _relays(store: Store, states: Mapping[str, SyncState]) -> tuple[RelayStatus, ...]:
    marks = store.meta.relays()
    return tuple(
        RelayStatus(
            url=url,
            cursor=marks[url].cursor if url in marks else 0,
            confirmed_envelopes=marks[url].confirmed_seq if url in marks else 0,
            refused=marks[url].refused if url in marks else 0,
            refused_reason=marks[url].refused_reason if url in marks else None,
            state=states.get(url),
        )
        for url in sorted({*marks, *states})
    )
