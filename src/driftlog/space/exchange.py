"""Where the log meets the cryptography: envelopes are sealed from pending events, and opened before the store takes them."""

from collections.abc import Iterable

from driftlog._core.batch import Batch
from driftlog._core.envelope import Envelope
from driftlog._core.genesis import Genesis, Invite
from driftlog._core.ids import BatchSeq, EnvelopeHash
from driftlog._core.steps import Opened
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

    def open_all(self, envelopes: Iterable[bytes]) -> tuple[list[Opened], tuple[Refusal, ...]]:
        """Open what can be opened, and say of the rest why not."""
        opened: list[Opened] = []
        refused: list[Refusal] = []
        for index, raw in enumerate(envelopes):
            try:
                opened.append(self.open(bytes(raw)))
            except InvalidEnvelope as error:
                refused.append(Refusal(index, str(error)))
        return opened, tuple(refused)

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
