"""Read the input of a campaign, run it, display its progress, and write results and summary."""
