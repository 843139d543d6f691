"""What the campaign commands share: reading input, running, displaying and writing results."""
