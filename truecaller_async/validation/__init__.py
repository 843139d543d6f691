"""Validation of records and arguments before any I/O. Pure: `now` is an argument."""
