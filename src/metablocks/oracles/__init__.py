"""What exploration can be worth: exact posteriors, and agents that act on them, optimally or not."""
