"""The decisions: what next, how long, in what state. Pure: no I/O, no clock, no randomness but what is passed in."""
