"""Hostile answers and invalid input."""
