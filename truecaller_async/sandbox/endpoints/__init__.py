"""Tokens, numbers, feature sets, exports and pages of lists in the sandbox."""
