"""The pure heart: ids, clock, values, events, envelopes, version vectors, and the plan of a rebase.

Nothing here reads a clock, draws randomness, or touches a disk or a network; those are arguments.
"""
