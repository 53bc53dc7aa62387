"""The checks for other people's implementations: ours pass, and wrong ones are told what to mend."""
