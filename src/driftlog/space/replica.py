"""The space as the sync driver sees it: what it would say, send and take in. All of it blocks, none of it decides."""

from collections.abc import Callable, Sequence

from driftlog._core.ids import Birthday, Position
from driftlog._core.version_vector import VersionVector
from driftlog._protocol.device_values import Greeting, Outbound, SyncState
from driftlog._store.meta import RelayMark
from driftlog._store.store import Store
from driftlog.errors import InvalidEnvelope
from driftlog.space.engine import Engine


class SpaceReplica:
    """One space's side of its conversations with relays."""

    def __init__(self, engine: Engine, report: Callable[[str, SyncState], None]) -> None:
        self._engine = engine
        self.report = report

    def greeting(self, url: str) -> Greeting:
        """Say which space this is, and how far it has read from this relay."""
        engine = self._engine
        with engine.reading() as store:
            mark = store.meta.relay(url)
            return Greeting(
                genesis=engine.exchange.genesis(store),
                device=engine.keys.device_key,
                birthday=mark.birthday if mark else None,
                cursor=Position(mark.cursor if mark else 0),
                vector=store.chains.version_vector(),
            )

    def sign_hello(self, message: bytes) -> bytes:
        """Sign a relay's challenge."""
        return self._engine.exchange.sign(message)

    def apply(self, url: str, birthday: Birthday, envelopes: Sequence[bytes], cursor: int) -> VersionVector:
        """Take in what a relay sent, and with it the cursor, in one transaction. Gives what is held now.

        A relay that sends what is not an envelope of this space is refused as a whole: its cursor would move past what was
        not taken in.
        """
        engine = self._engine
        opened, refused = engine.exchange.open_all(envelopes)
        if refused:
            raise InvalidEnvelope(f"the relay sent what this space cannot take in: {refused[0].reason}")

        def mark(store: Store) -> None:
            known = store.meta.relay(url)
            confirmed = known.confirmed_seq if known is not None and known.birthday == birthday else 0
            store.meta.set_relay(url, RelayMark(birthday, cursor, confirmed))

        engine.take_in(opened, mark)
        with engine.reading() as store:
            return store.chains.version_vector()

    def outgoing(self, relay_has: VersionVector, max_bytes: int) -> Sequence[Outbound]:
        """Give envelopes that the relay lacks, at least one if there is any, up to about `max_bytes`, sealing first."""
        engine = self._engine
        engine.seal()
        batch: list[Outbound] = []
        size = 0
        with engine.reading() as store:
            for device, head, raw in store.chains.missing_from(relay_has):
                if batch and size + len(raw) > max_bytes:
                    break
                batch.append(Outbound(device, head, raw))
                size += len(raw)
        return batch

    def known_heads(self, relay: VersionVector) -> VersionVector:
        """Give this device's heads in the relay's coordinates: of each chain, what both may hold."""
        with self._engine.reading() as store:
            return store.chains.within(relay)

    def confirm(self, url: str, batch_seq: int) -> None:
        """Note that the relay holds this device's envelopes up to `batch_seq` durably."""
        with self._engine.writing() as store:
            mark = store.meta.relay(url)
            if mark is not None and mark.confirmed_seq < batch_seq:
                store.meta.set_relay(url, mark._replace(confirmed_seq=batch_seq))

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Tell `callback`, from any thread, when there may be something new to send. Gives the function that ends it."""
        return self._engine.changed.add(callback)
