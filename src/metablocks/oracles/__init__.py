"""What exploration can be worth: exact posteriors, and agents that act on them, well or not."""
