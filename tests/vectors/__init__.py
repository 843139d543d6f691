"""Test tables as data: readable as a specification, and run by the tests of several packages."""
