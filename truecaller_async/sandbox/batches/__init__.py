"""Records and batches of the sandbox: validation, what took effect, and their status."""
