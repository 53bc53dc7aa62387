"""The blind relay: it checks signatures, chains and membership, numbers envelopes, keeps them, and hands them on.

It cannot open one: it imports nothing that could.
"""
