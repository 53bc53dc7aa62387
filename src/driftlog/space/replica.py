"""The space as the sync driver sees it: what it would say, send and take in. All of it blocks, none of it decides."""

import logging
from collections.abc import Callable, Sequence

from driftlog._core.ids import Birthday, DeviceKey, Position, short
from driftlog._core.version_vector import Head, VersionVector
from driftlog._protocol.device_values import Greeting, Outbound, SyncState
from driftlog._store.meta import RelayMark
from driftlog._store.store import Store
from driftlog.space.acknowledging import Acknowledger
from driftlog.space.engine import Engine

_log = logging.getLogger("driftlog")

Report = Callable[[str, SyncState], None]


class SpaceReplica:
    """One space's side of its conversations with relays: a `driftlog._driver.replica.Replica`."""

    def __init__(self, engine: Engine, report: Report) -> None:
        self._engine = engine
        self._report = report
        self._version_seen = self._version()
        self._acknowledger = Acknowledger(engine)

    def report(self, url: str, state: SyncState) -> None:
        """Show people how it stands."""
        self._report(url, state)

    def greeting(self, url: str) -> Greeting:
        """Say which space this is, and how far it has read from this relay."""
        with self._engine.reading() as store:
            mark = store.meta.relay(url)
            return Greeting(
                genesis=self._engine.exchange.genesis(store),
                device=self._engine.keys.device_key,
                # A relay of which nothing was read is no better known than a new one: it must not begin at its first
                # envelope, but ask what is held here.
                birthday=mark.birthday if mark is not None and mark.cursor else None,
                cursor=Position(mark.cursor if mark is not None else 0),
                vector=store.chains.version_vector(),
            )

    def sign_hello(self, message: bytes) -> bytes:
        """Sign a relay's challenge."""
        return self._engine.exchange.sign(message)

    def apply(self, url: str, birthday: Birthday, envelopes: Sequence[bytes], cursor: Position) -> int:
        """Take in what a relay sent, and with it the cursor, in one transaction; gives how many envelopes were new.

        What is refused is counted against the relay, with the reason, and passed over: any member can put it there.
        """
        incoming = self._engine.exchange.verify(envelopes)

        def mark(store: Store) -> None:
            known = _mark(store, url, birthday)
            # With the last of the steps, before which all were opened.
            refused = incoming.refused()
            store.meta.set_relay(
                url,
                known._replace(
                    cursor=cursor,
                    refused=known.refused + len(refused),
                    refused_reason=refused[-1].reason if refused else known.refused_reason,
                ),
            )

        received = self._engine.take_in(incoming.sealed, mark)
        for refusal in incoming.refused():
            _log.warning("space %s: from %s: %s", short(self._engine.keys.space), url, refusal.reason)
        return received.envelopes

    def known_heads(self, relay: VersionVector) -> VersionVector:
        """Give this device's heads in the relay's coordinates."""
        with self._engine.reading() as store:
            return store.chains.within(relay)

    def outgoing(self, relay_has: VersionVector, skipped: frozenset[DeviceKey], bytes_max: int) -> Sequence[Outbound]:
        """Give envelopes that the relay lacks, at least one if there is any, sealing first what is pending."""
        self._engine.seal()
        batch: list[Outbound] = []
        size = 0
        with self._engine.reading() as store:
            for device, head, raw in store.chains.missing_from(relay_has):
                if device in skipped:
                    continue
                size += len(raw)
                if batch and size > bytes_max:
                    break
                batch.append(Outbound(device, head, raw))
        return batch

    def confirm(self, url: str, birthday: Birthday, head: Head | None, *, is_all: bool) -> None:
        """Note that the relay holds this device's chain up to `head` durably, and if `is_all`, that it holds no more.

        A head of another branch, or one not held here yet, says nothing of what was made here.
        """

        def marked(store: Store) -> RelayMark:
            mark = _mark(store, url, birthday)
            return mark._replace(confirmed_seq=self._confirmed_seq(store, mark.confirmed_seq, head, is_all=is_all))

        with self._engine.reading() as store:
            if marked(store) == store.meta.relay(url):
                return
        with self._engine.writing() as store:
            store.meta.set_relay(url, marked(store))

    def _confirmed_seq(self, store: Store, before: int, head: Head | None, *, is_all: bool) -> int:
        if head is None:
            return 0 if is_all else before
        tip = store.meta.own_branch().head
        if tip is None or not store.chains.leads_to(self._engine.keys.device_key, head, tip):
            return before
        return head.batch_seq if is_all else max(before, head.batch_seq)

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Tell `callback`, from any thread, when there may be something new to send. Gives what ends that."""
        return self._engine.changed.add(callback)

    def change_count(self) -> int:
        """Give how often this space has changed since it was opened."""
        return self._engine.changed.count

    def look_around(self) -> None:
        """Say that the space has changed if another connection, perhaps of another process, has written to its file.

        It is also when this device compares its view with what others have stated about theirs, states its own, and says
        that it is here, if it has had nothing else to say for a while.
        """
        version = self._version()
        if version != self._version_seen:
            self._version_seen = version
            self._engine.changed.tell()
            # What another process took in may have settled what somebody waits for here.
            self._engine.others_wrote()
        # First, because a statement says that this device is here, too.
        self._engine.comparing.look()
        self._acknowledger.look()

    def _version(self) -> int:
        with self._engine.reading() as store:
            # The pragma, not apsw's data_version(): only it looks at the file.
            version: int = store.connection.execute("PRAGMA data_version").get
            return version


def _mark(store: Store, url: str, birthday: Birthday) -> RelayMark:
    """Give the mark of a relay in this life of its database: what it read or held in another counts no more."""
    mark = store.meta.relay(url)
    if mark is None:
        return RelayMark(birthday, 0, 0, 0, None)
    return mark if mark.birthday == birthday else mark._replace(birthday=birthday, cursor=0, confirmed_seq=0)
