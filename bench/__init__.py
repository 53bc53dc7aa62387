"""Measurements of Driftlog, each as a ratio to a floor that is measured in the same run: `python -m bench`.

Nothing here is a test: a figure that is missed is printed, and fails nothing.
"""
