"""What an app holds: the declaration of its events and tables, and an open space."""
