"""Process-level disturbances: stop, cancellation, blocked loop, clock changes, broken source."""
