"""A client whose server asks for fewer requests, or is not available."""
