"""What a check says when an implementation does not conform."""


class Nonconforming(AssertionError):
    """An implementation breaks its interface's promise. `claim` names the check; the text says what to mend."""

    def __init__(self, claim: str, seen: str, remedy: str) -> None:
        super().__init__(f"{claim.replace('_', ' ')}: {seen}; {remedy}")
        self.claim = claim
