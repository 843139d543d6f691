"""Tables of cases that are data: readable as a specification, and run by the tests of the rooms they are about."""
