"""Where the log meets the cryptography: envelopes are sealed from pending events, and opened before the store takes them."""

from collections.abc import Iterable
from functools import partial

from driftlog._core.batch import Batch
from driftlog._core.envelope import Envelope
from driftlog._core.genesis import Genesis, Invite
from driftlog._core.ids import BatchSeq, EnvelopeHash
from driftlog._core.steps import Opened, Sealed
from driftlog._crypto import seal as crypto
from driftlog._crypto.keys import Entropy, SpaceKeys
from driftlog._store.store import Store
from driftlog.errors import InvalidEnvelope
from driftlog.space.status import Refusal


class Exchange:
    """Seals and opens with one device's keys."""

    def __init__(self, keys: SpaceKeys, entropy: Entropy) -> None:
        self._keys = keys
        self._entropy = entropy

    def open(self, raw: bytes) -> Opened:
        """Verify and open received bytes, or raise `InvalidEnvelope`."""
        envelope = crypto.receive(raw, self._keys)
        return envelope, crypto.unseal(envelope, self._keys)

    def verify(self, envelopes: Iterable[bytes]) -> "Incoming":
        """Verify received bytes, to be opened in their turn."""
        return Incoming(envelopes, self._keys)

    def open_all(self, envelopes: Iterable[bytes]) -> list[Opened]:
        """Open what can be opened, and pass over the rest."""
        return [
            (envelope, batch) for envelope, unseal in self.verify(envelopes).sealed if (batch := unseal()) is not None
        ]

    def seal(self, batch: Batch, batch_seq: BatchSeq, previous: EnvelopeHash) -> Envelope:
        """Seal a batch as this device."""
        return crypto.seal(batch, self._keys, batch_seq, previous, self._entropy)

    def sign(self, message: bytes) -> bytes:
        """Sign a relay's challenge with the space's access key."""
        return self._keys.access.sign(message)

    def genesis(self, store: Store) -> Genesis:
        """Give the space's genesis."""
        stated = store.meta.get("genesis")
        assert stated is not None, "checked when the file was opened"
        return Genesis.decode(stated)

    def invite(self, store: Store, app_name: str) -> Invite:
        """Make an invite to the space."""
        return Invite(app_name, self.genesis(store), self._keys.epoch_key)


class Incoming:
    """Envelopes that came in: verified at once, and opened one by one, each when its events are taken in.

    A long catch-up opened at once would be a hundred thousand objects, and Python's collector would stop everybody to go
    over them, again and again until the last was taken in.
    """

    def __init__(self, envelopes: Iterable[bytes], keys: SpaceKeys) -> None:
        self._keys = keys
        self.sealed: list[Sealed] = []
        self._refused: list[Refusal] = []
        for index, raw in enumerate(envelopes):
            try:
                envelope = crypto.receive(bytes(raw), keys)
            except InvalidEnvelope as error:
                self._refused.append(Refusal(index, str(error)))
            else:
                self.sealed.append((envelope, partial(self._unseal, index, envelope)))

    def refused(self) -> tuple[Refusal, ...]:
        """Say what was not let in, and why: complete once all that is sealed was opened."""
        return tuple(sorted(self._refused, key=lambda refusal: refusal.index))

    def _unseal(self, index: int, envelope: Envelope) -> Batch | None:
        try:
            return crypto.unseal(envelope, self._keys)
        except InvalidEnvelope as error:
            self._refused.append(Refusal(index, str(error)))
            return None
