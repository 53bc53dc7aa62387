"""Keys, sealing, opening and verifying, on PyNaCl. A relay may import `verify` only."""
