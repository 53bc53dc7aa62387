"""Opening, founding and joining: from a path to a space whose file, keys and app fit together, or a clear error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from driftlog._core.genesis import Genesis, Invite
from driftlog._core.names import is_name
from driftlog._core.wire import Malformed
from driftlog._crypto import keys as crypto_keys
from driftlog._crypto.keys import SEED_BYTES, Entropy, SpaceKeys
from driftlog._sqlite.connection import Durability, connect
from driftlog._sqlite.storage_errors import storage_errors
from driftlog._sqlite.transactions import synced_to_disk, write_transaction
from driftlog._store import schema
from driftlog._store.facts import misnamed
from driftlog._store.meta import Meta
from driftlog._store.program import Program
from driftlog._store.rebuilding import Progress
from driftlog._store.view import View
from driftlog.errors import Corrupt, InvalidInvite, MissingDeviceKey, OtherApp, UnusableFile
from driftlog.space.connecting import MEMORY
from driftlog.space.engine import Engine
from driftlog.space.files import read_seed, write_seed
from driftlog.space.space import Space

_NAME_CHARS_SAID_MAX: Final = 40
"""Of what stands in a damaged file where a name should be."""

Clock = Callable[[], int]
"""Gives milliseconds since 1970."""


def open_space(
    program: Program,
    path: str | Path,
    *,
    durability: Durability,
    clock: Clock,
    entropy: Entropy,
    progress: Progress,
    vfs: str,
) -> Space:
    """Open the space at `path`, or found one there."""
    with _connected(path, durability, vfs) as (connection, is_space):
        keys = None if is_space else _found(connection, program, path, entropy)
        if keys is None:
            if not is_space:
                # Between connecting and now another process has made it something.
                schema.identify(connection, path)
            keys = _read(connection, program, path)
        engine = Engine(
            connection,
            program,
            keys,
            path=str(path),
            clock=clock,
            entropy=entropy,
            progress=progress,
            durability=durability,
            vfs=vfs,
        )
        return Space(engine)


def join_space(
    program: Program,
    path: str | Path,
    invite: Invite,
    *,
    durability: Durability,
    clock: Clock,
    entropy: Entropy,
    vfs: str,
) -> Space:
    """Make a new file at `path` for the space of an invite."""
    if invite.app_name != program.name:
        raise OtherApp(
            f"the invite is for the app {invite.app_name!r}, this is {program.name!r}; open it with that app"
        )
    if not crypto_keys.is_for(invite):
        raise InvalidInvite("the invite's key is not the one that its space was founded with; ask for a new invite")
    with _connected(path, durability, vfs) as (connection, is_space):
        keys = (
            None
            if is_space
            else _write(connection, program, path, entropy(SEED_BYTES), invite.genesis, invite.epoch_key)
        )
        if keys is None:
            raise UnusableFile(f"{path} exists already; join with the path of a new file, this one was left as it is")
        return Space(
            Engine(
                connection, program, keys, path=str(path), clock=clock, entropy=entropy, durability=durability, vfs=vfs
            )
        )


@contextmanager
def _connected(path: str | Path, durability: Durability, vfs: str) -> Iterator[tuple[apsw.Connection, bool]]:
    """Connect, and let go of the file again if what follows fails; with it, whether there was a space in the file."""
    is_space = False

    def identify(connection: apsw.Connection) -> None:
        nonlocal is_space
        is_space = schema.identify(connection, path)

    with storage_errors(str(path)), _damaged_tables(path):
        connection = connect(
            path,
            durability=durability,
            page_bytes=schema.PAGE_BYTES,
            vfs=vfs,
            may_be_immutable=True,
            identify=identify,
        )
        try:
            yield connection, is_space
        except BaseException:
            connection.close()
            raise


@contextmanager
def _damaged_tables(path: str | Path) -> Iterator[None]:
    """Say that the tables are not as they were made where SQLite finds an error in a statement: the statements are ours."""
    try:
        yield
    except (apsw.SQLError, UnicodeDecodeError) as error:
        raise Corrupt(f"{path} is damaged: its tables are not as they were made ({error}); run repair on it") from error


def _found(connection: apsw.Connection, program: Program, path: str | Path, entropy: Entropy) -> SpaceKeys | None:
    """Found a space in an empty file; None if it is not empty."""
    if not schema.is_empty(connection):
        return None
    seed = entropy(SEED_BYTES)
    return _write(connection, program, path, seed, *crypto_keys.found_space(seed, entropy))


def _write(
    connection: apsw.Connection, program: Program, path: str | Path, seed: bytes, genesis: Genesis, epoch_key: bytes
) -> SpaceKeys | None:
    """Make a space in an empty file; None if it is not empty. Of two processes that try, one does and the other is told."""
    keys = SpaceKeys.of(seed, genesis, epoch_key)
    # Even where durability is relaxed: an invite may be given to others as soon as this returns, and a space that was
    # forgotten would be founded again as another one.
    with synced_to_disk(connection), write_transaction(connection):
        if not schema.is_empty(connection):
            return None
        if str(path) != MEMORY:
            # On disk before the database is: a database without its key could never be written.
            write_seed(Path(path), seed)
        schema.create(connection)
        meta = Meta(connection)
        meta.set("app", program.name.encode())
        meta.set("genesis", genesis.encode())
        meta.set("device", keys.device_key)
        meta.set("view", program.fingerprint)
        meta.add_epoch(genesis.epoch, epoch_key)
        View(connection, program.tables).create()
    return keys


def _read(connection: apsw.Connection, program: Program, path: str | Path) -> SpaceKeys:
    meta = Meta(connection)
    app_name, stated, device = meta.get("app"), meta.get("genesis"), meta.get("device")
    other = misnamed(connection)
    if other is not None:
        said = other[:_NAME_CHARS_SAID_MAX]
        raise Corrupt(f"{path} is damaged: it holds a fact called {said!r}, and none is; run repair on it")
    if app_name is None or stated is None or device is None:
        raise Corrupt(f"{path} lacks the facts every space has; restore a backup")
    if app_name != program.name.encode():
        name = app_name.decode(errors="surrogateescape")
        if not is_name(name):
            raise Corrupt(f"{path} is damaged: {name[:_NAME_CHARS_SAID_MAX]!r} can be no app's name; run repair on it")
        raise OtherApp(f"{path} belongs to the app {name!r}, this is {program.name!r}; open it with that app")
    try:
        genesis = Genesis.decode(stated)
    except Malformed as error:
        raise Corrupt(f"{path} holds a damaged genesis ({error}); restore a backup") from error
    epoch_key = meta.epochs().get(genesis.epoch, b"")
    if crypto_keys.commitment(epoch_key) != genesis.epoch_commitment:
        raise Corrupt(f"{path} lacks the key of its epoch, or holds a damaged one; restore a backup")
    keys = SpaceKeys.of(read_seed(Path(path)), genesis, epoch_key)
    if keys.device_key != device:
        raise MissingDeviceKey(
            f"the key file beside {path} is of another device or space; put back the one that belongs to it"
        )
    return keys
