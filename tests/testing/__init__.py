"""Tests of driftlog's testing package."""
