"""What a process may do to its client: stop it, cancel it, hold its loop, set its clock, break its source."""
