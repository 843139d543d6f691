"""Every endpoint in every version: what the documentation prints, and what happens on a wire."""
