"""Files on disk: one SQLite connection in one thread, private files and file locks."""
