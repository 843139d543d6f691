"""Faults on demand: fault plans, the responses they produce, and response variants."""
