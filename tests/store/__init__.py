"""Tests of driftlog's _store layer."""
