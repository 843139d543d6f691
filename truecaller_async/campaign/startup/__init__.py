"""Start a run: of a new campaign, or of one that its journal describes."""
