"""metablocks: composable pure-function blocks for meta-reinforcement-learning in JAX."""
