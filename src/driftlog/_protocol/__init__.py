"""The conversation of a device and a relay, as values: frames, and the two state machines that exchange them.

Nothing here knows a socket, a clock, a key or a database. `docs/protocol.md` describes it from outside.
"""
