"""The only loop: it performs what a session asks for."""
