"""Any bytes at every decoder: inputs made of the formats' own parts, and what a decoder may answer."""
