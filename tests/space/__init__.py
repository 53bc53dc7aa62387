"""Tests of driftlog's space layer."""
