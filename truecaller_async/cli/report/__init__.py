"""Format status and report of a campaign, read from its journal, as text, JSON and HTML."""
