"""The TrustCaller API of the sandbox."""
