"""What a client does when the server asks for less, or can do nothing at all."""
