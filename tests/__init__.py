"""The judges: each test's name is a claim, and `promises.md` says which claims there must be."""
