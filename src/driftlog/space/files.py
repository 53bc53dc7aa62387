"""A space's two files: the database, and beside it the device's key file, which no backup of the database contains.

The key file is `<database>-device`, readable by its owner only. It holds the seed from which the device's keys are
derived; without it nothing could be signed, so a database is not opened without it.
"""

import errno
import os
from pathlib import Path
from typing import Final

from driftlog._crypto.keys import SEED_BYTES
from driftlog.errors import DiskFull, MissingDeviceKey, StorageError

_MAGIC: Final = "driftlog-device 1"
_SUFFIX: Final = "-device"
_TEXT_CHARS_MAX: Final = 256
"""A key file has 82 characters; an editor may have added white space. More is not read, whatever lies at that path."""


def key_path(database: Path) -> Path:
    """Give the path of the key file that belongs to a database."""
    return database.with_name(database.name + _SUFFIX)


def write_seed(database: Path, seed: bytes) -> None:
    """Write a new key file, on disk when this returns. One that is there already belongs to something else: keep it.

    Raises `StorageError`.
    """
    assert len(seed) == SEED_BYTES
    path = key_path(database)
    try:
        if path.exists():
            path.rename(_free_name(path))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{_MAGIC} {seed.hex()}\n")
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(path.parent)
    except OSError as error:
        # What is there of it belongs to no database: the next try moves it aside.
        kind = DiskFull if error.errno == errno.ENOSPC else StorageError
        raise kind(
            f"{path}, this device's key, cannot be written ({error}); nothing was recorded, try again once it can"
        ) from error


def read_seed(database: Path) -> bytes:
    """Read the seed, or raise `MissingDeviceKey` saying what to do."""
    path = key_path(database)
    try:
        with path.open(encoding="ascii") as file:
            text = file.read(_TEXT_CHARS_MAX + 1)
    except FileNotFoundError:
        raise MissingDeviceKey(
            f"{path} is not there: it holds this device's key. Put it back beside {database.name}, or join the space "
            "again from another device with an invite; the database was left as it is"
        ) from None
    except UnicodeDecodeError:
        text = ""
    except OSError as error:
        raise MissingDeviceKey(
            f"{path}, this device's key, cannot be read ({error}); check its owner and mode"
        ) from error
    magic, _, encoded = text.strip().rpartition(" ")
    try:
        seed = bytes.fromhex(encoded)
    except ValueError:
        seed = b""
    is_whole = len(text) <= _TEXT_CHARS_MAX and len(encoded) == 2 * SEED_BYTES
    if magic != _MAGIC or len(seed) != SEED_BYTES or not is_whole:
        raise MissingDeviceKey(f"{path} is not a device key file, or is damaged; restore it from a backup")
    return seed


def _sync_directory(directory: Path) -> None:
    # A file's name is in its directory, which is synced for itself. Windows does that with the file.
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _free_name(path: Path) -> Path:
    number = 1
    while (free := path.with_name(f"{path.name}.{number}")).exists():
        number += 1
    return free
