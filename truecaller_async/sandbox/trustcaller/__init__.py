"""TrustCaller API of the sandbox: its settings, and the state that answers requests."""
