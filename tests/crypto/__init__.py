"""Properties of sealing, opening and verifying: every altered byte is refused, every edge of Ed25519 is settled."""
