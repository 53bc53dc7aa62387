"""Processes killed in the middle of their work, by the hundred: what they had acknowledged must be there afterwards."""
