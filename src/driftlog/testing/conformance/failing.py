"""What a check says when an implementation does not conform."""


class Nonconforming(AssertionError):
    """An implementation breaks its interface's promise. `claim` names the check; the text says what to mend.

    `rule` is the number of the broken rule, where the contract has numbers: a relay store's stand in `driftlog.relay.store`.
    """

    def __init__(self, claim: str, seen: str, remedy: str, rule: int | None = None) -> None:
        where = "" if rule is None else f" (rule {rule} of driftlog.relay.store)"
        super().__init__(f"{claim.replace('_', ' ')}: {seen}; {remedy}{where}")
        self.claim = claim
        self.rule = rule
