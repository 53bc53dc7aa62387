"""The zoo: mistakes that sync engines and databases have shipped, put back into Driftlog one at a time, to be found."""
