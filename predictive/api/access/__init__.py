"""Who may ask, for whom, and how often."""
