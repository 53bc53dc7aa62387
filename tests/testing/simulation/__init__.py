"""The simulator is put to the test, and puts Driftlog to it."""
