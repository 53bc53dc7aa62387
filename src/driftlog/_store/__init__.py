"""The log and its fold in one SQLite file: what is appended or received, in order, and the tables it amounts to.

Everything here is synchronous, and is called by one thread at a time inside the space's lock.
"""
