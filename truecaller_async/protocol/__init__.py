"""Encode requests to bytes and decode answers to models.

Pure: no I/O, and no clock except the argument `now`.
"""
