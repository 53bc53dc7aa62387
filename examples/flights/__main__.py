"""Runs the example: `python -m examples.flights`."""

import sys

from examples.flights.main import main

if __name__ == "__main__":
    sys.exit(main())
