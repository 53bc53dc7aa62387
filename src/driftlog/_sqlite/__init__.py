"""What Driftlog asks of SQLite: connections set up alike everywhere, app tables it can rewind, confined statements."""
