"""From a logged record to the event its materializer gets: through the upgrades that its version needs, then decoded.

The bytes in the log stay as they were written; what an upgrade makes of them is made again at every reading. An upgrade
gets fields that nobody else holds, and gives fields that are held to the value domain as if a device had sent them. What
it raises is a verdict on the event, in words that are the same on every device. What the machine does is not.
"""

from threading import Thread, local
from typing import NoReturn

import msgspec

from driftlog._core.event import Event, Record, version_of
from driftlog._core.values import check_payload
from driftlog._sqlite.storage_errors import ENVIRONMENT_ERRORS
from driftlog._store.program import Materializer, Rejection, Upgrade
from driftlog._store.view import EXHAUSTED, REASON_CHARS_MAX
from driftlog.errors import DriftlogError

# Sorted, so that a set which an upgrade gives has one form whatever the process's hash seed.
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode_fields = msgspec.msgpack.Decoder(dict[str, object]).decode


class _Thread(local):
    is_upgrading = False


_thread = _Thread()


def read_event(materializer: Materializer, record: Record, *, is_float_allowed: bool) -> Event:
    """Give the event that a record holds, as the type that this version of the app declares.

    Raises `Rejection` if the payload does not fit the type, or an upgrade refuses it or fails on it.
    """
    if not materializer.upgrades:
        try:
            return materializer.decode(record.payload)
        except Exception as error:
            # Any: a type may check itself with code of the app's. The words are ours, because msgspec's may change.
            version = version_of(record.marked_version)
            raise Rejection(f"the payload does not fit {record.name} version {version}", record.name) from error
    try:
        return _Ascent(materializer, record, is_float_allowed=is_float_allowed).climb()
    except EXHAUSTED:
        # How deep the caller stood, and what else the process held, must not decide what becomes of an event.
        return _Ascent(materializer, record, is_float_allowed=is_float_allowed, is_last_try=True).climb_afresh()


def check_not_upgrading() -> None:
    """Raise if this thread is within an upgrade: what a space holds just now may not take part in what an event means."""
    if _thread.is_upgrading:
        raise DriftlogError(
            "an upgrade used the space; make the new fields of the fields it is given and of nothing else"
        )


class _Ascent:
    """One event's way from the version it was appended in to the version that has a materializer."""

    def __init__(
        self, materializer: Materializer, record: Record, *, is_float_allowed: bool, is_last_try: bool = False
    ) -> None:
        self._materializer = materializer
        self._record = record
        self._is_float_allowed = is_float_allowed
        self._passed_on = ENVIRONMENT_ERRORS if is_last_try else (*ENVIRONMENT_ERRORS, *EXHAUSTED)
        """What is not a verdict on the event, or not yet."""

    def climb(self) -> Event:
        """Upgrade step by step, then decode."""
        record, event_type = self._record, self._materializer.event_type
        payload = record.payload
        for version, upgrade in enumerate(self._materializer.upgrades, version_of(record.marked_version)):
            payload = self._step(upgrade, payload, version)
        try:
            return self._materializer.decode(payload)
        except Exception as error:  # noqa: BLE001 - it is raised again, or the verdict
            self._judge(error, f"what the upgrades gave does not fit {record.name} version {event_type.event_version}")

    def climb_afresh(self) -> Event:
        """Climb in a thread where nothing else is on the stack; what it meets there is the verdict."""
        outcome: list[Event | BaseException] = []

        def run() -> None:
            try:
                outcome.append(self.climb())
            except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
                outcome.append(error)

        thread = Thread(target=run, name="driftlog-upgrade")
        thread.start()
        thread.join()
        [result] = outcome
        if isinstance(result, BaseException):
            raise result
        return result

    def _step(self, upgrade: Upgrade, payload: bytes, version: int) -> bytes:
        fields = _decode_fields(payload)
        _thread.is_upgrading = True
        try:
            upgraded: object = upgrade(fields)
        except Exception as error:  # noqa: BLE001 - likewise
            self._judge(error, f"{self._name(version)} raised {type(error).__name__}")
        finally:
            _thread.is_upgrading = False
        if not isinstance(upgraded, dict):
            raise self._rejection(f"{self._name(version)} gave a {type(upgraded).__name__} instead of a dict of fields")
        try:
            upgraded_payload = _encode(upgraded)
            check_payload(upgraded_payload, is_float_allowed=self._is_float_allowed)
        except Exception as error:  # noqa: BLE001 - likewise; a value of the app's own type may be encoded by the app's code
            self._judge(error, f"{self._name(version)} gave fields that no event may hold")
        return upgraded_payload

    def _name(self, version: int) -> str:
        return f"the upgrade of {self._record.name} from version {version}"

    def _judge(self, error: Exception, verdict: str) -> NoReturn:
        """Raise what an error amounts to: a rejection in words of ours, because those of errors differ between devices."""
        if isinstance(error, self._passed_on):
            raise error
        raise self._rejection(error.reason if isinstance(error, Rejection) else verdict) from error

    def _rejection(self, reason: str) -> Rejection:
        return Rejection(reason[:REASON_CHARS_MAX], self._record.name)
