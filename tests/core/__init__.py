"""Properties of the pure heart: no file, no network, no clock; thousands of drawn cases each."""
