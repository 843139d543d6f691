"""Store data on disk: a SQLite connection in one thread, private files and file locks."""
