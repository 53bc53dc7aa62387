"""`python -m driftlog.testing.simulation`."""

import sys

from driftlog.testing.simulation.command import main

if __name__ == "__main__":
    sys.exit(main())
