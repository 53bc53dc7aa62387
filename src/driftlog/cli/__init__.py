"""The command line: one file per command, each a thin layer over the same public calls that an app uses."""
