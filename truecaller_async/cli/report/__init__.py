"""The campaign report: its data, as text and as HTML."""
