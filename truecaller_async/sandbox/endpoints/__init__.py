"""Calls without call records: tokens, numbers, feature sets, exports, and pagination of lists."""
