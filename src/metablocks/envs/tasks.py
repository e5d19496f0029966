"""Samplers of tasks: the two ways a `Benchmark` draws `num` of them."""

from collections.abc import Callable

import jax
import jax.random as jr

from metablocks.trees import take
from metablocks.types import Key, Task

Sampler = Callable[[Key, int], Task]


def drawn(sample: Callable[[Key], Task]) -> Sampler:
    """Independent draws from a law over tasks, given as `key -> Task`."""
    return lambda key, num: jax.vmap(sample)(jr.split(key, num))


def fixed(tasks: Task) -> Sampler:
    """A finite set of tasks [n], drawn without replacement for as long as it lasts.

    More than n tasks are several permutations one after the other, so `sampler(key, m * n)`
    holds every task exactly m times.
    """
    size = jax.tree.leaves(tasks)[0].shape[0]

    def sample(key: Key, num: int) -> Task:
        rounds = jr.split(key, -(-num // size))
        order = jax.vmap(lambda key: jr.permutation(key, size))(rounds).reshape(-1)
        return take(tasks, order[:num])

    return sample
