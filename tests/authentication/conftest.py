"""What the tests of tokens borrow."""

from tests.throttling.conftest import small_batches

__all__ = ["small_batches"]
