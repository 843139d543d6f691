"""What the world may do to a client: answers nobody would write, and input nobody should give."""
