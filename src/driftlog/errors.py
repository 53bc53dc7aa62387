"""Everything Driftlog raises on purpose, under one root.

A subclass exists where a caller would act differently; its name says whose doing it is. Being offline or behind is a
state (`space.status()`), not an error.
"""


class DriftlogError(Exception):
    """Root of every error that Driftlog raises on purpose."""


# --- the app's author ------------------------------------------------------------------------------------------------


class InvalidApp(DriftlogError):
    """The declaration of an app cannot be kept on every device alike: a table, an event type or a materializer."""


class InvalidEvent(DriftlogError):
    """An event holds a value outside the value domain, is too large, or is of a type that the app does not declare."""


class ForbiddenSQL(DriftlogError):
    """A materializer or transaction asked for SQL that could differ between devices or reach outside the app's tables."""


class InvalidKey(DriftlogError):
    """What was given as a table and a row's key cannot be one in this app."""


class EventRejected(DriftlogError):
    """The event would be rejected where it is made, so nothing was appended.

    `reason` is what the materializer gave, or what SQLite's constraint said.
    """

    def __init__(self, event_name: str, reason: str) -> None:
        super().__init__(f"{event_name} was rejected: {reason}; nothing was appended")
        self.event_name = event_name
        self.reason = reason


# --- files and machines ----------------------------------------------------------------------------------------------


class StorageError(DriftlogError):
    """The file or the machine under it failed; nothing was recorded, and the same call may succeed later."""


class DiskFull(StorageError):
    """No room is left for the change. It was undone; reading goes on, and appending works again once there is room."""


class Busy(StorageError):
    """Another process held the file's write lock for longer than the busy timeout."""


class ReadOnly(StorageError):
    """The file was opened for reading only, because the file or its directory cannot be written."""


class Corrupt(StorageError):
    """The file's content contradicts itself; `app.repair(path)` mends it from what proves itself and what others hold.

    A relay's file is not mended but moved away: the devices fill a new one.
    """


class UnusableFile(DriftlogError):
    """The path does not hold what was asked for, and the file was left as it is."""


class NotADriftlogFile(UnusableFile):
    """The file is something else than a Driftlog space."""


class NewerFormat(UnusableFile):
    """The file was written by a newer Driftlog than this one."""


class OtherApp(UnusableFile):
    """The file or invite belongs to another app."""


class AppChanged(UnusableFile):
    """Another process opened the file with another version of the app; this one cannot go on with its own tables."""


class LocalTablesChanged(UnusableFile):
    """The app declares a local table otherwise than it is in the file, which may hold rows; nothing was changed."""


class MissingDeviceKey(UnusableFile):
    """The device's key file, which lies beside the database, is not there or is not the one for this space."""


# --- what comes from elsewhere ---------------------------------------------------------------------------------------


class NeedsUpgrade(DriftlogError):
    """The log holds events of critical types that this version of the app does not know, so nothing was appended.

    Reading and syncing go on. `event_types` names them, each with its version.
    """

    def __init__(self, app_name: str, event_types: tuple[tuple[str, int], ...]) -> None:
        named = ", ".join(f"{name!r} version {version}" for name, version in event_types)
        super().__init__(
            f"this version of app {app_name!r} does not know {named}, and events of that kind may not be overlooked; "
            "nothing was appended, update the app"
        )
        self.app_name = app_name
        self.event_types = event_types


class InvalidInvite(DriftlogError):
    """An invite link is not a Driftlog invite, is cut short, or was altered."""


class InvalidEnvelope(DriftlogError):
    """Bytes that claim to be an envelope of this space are not one. They were not stored and changed nothing."""


class InvalidAddress(DriftlogError):
    """What was given as a relay's address cannot be one."""


class RelayError(DriftlogError):
    """A relay said or did something that ends the conversation with it; local work goes on."""


class RelayRefused(RelayError):
    """A relay refused this device or one of its envelopes, and said why."""


class ProtocolError(RelayError):
    """The other end of a connection broke the protocol, or speaks a version that this one does not."""


class Closed(DriftlogError):
    """The space was closed; open it again with `app.open(path)`."""
