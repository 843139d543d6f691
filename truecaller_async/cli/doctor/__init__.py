"""Checks of `truecaller doctor`: the environment, the meaning of each result, and the output."""
