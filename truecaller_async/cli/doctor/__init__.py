"""The checks of `truecaller doctor` and their output."""
