"""Webhooks of the sandbox: event bodies, delivery with retries, and the path that orders events."""
