"""A client whose tokens or credentials are rejected, or that gets no more tokens."""
