"""Webhooks of the sandbox: event bodies, the sender, and the path to order them."""
