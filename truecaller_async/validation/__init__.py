"""Validation of records, times and number lists before any I/O. Pure: the present time is an argument."""
