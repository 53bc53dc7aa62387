"""What `driftlog demo` shows: real processes on one machine that drift apart and come back together."""
