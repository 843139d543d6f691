"""Shared fixtures for tests of tokens."""

from tests.throttling.conftest import small_batches

__all__ = ["small_batches"]
