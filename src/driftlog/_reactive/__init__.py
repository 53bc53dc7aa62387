"""Live queries without I/O: what a query can see of a change, and how one answer differs from the next.

Pure: rows, tokens and images of rows are arguments. Running queries and calling back is the space's matter.
"""
