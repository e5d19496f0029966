"""Agents for Bernoulli bandits that count what every arm has paid, the Bayes-optimal one too.

Under p_i ~ U[0, 1] the belief after s_i successes and f_i failures is Beta(1 + s_i, 1 + f_i), so
the counts are all there is to remember: phi = (s, f).
"""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from metablocks.types import Agent, Key, TimeStep

MOST_STATES = 5_000_000
"""Counts that the dynamic program may enumerate."""


class Counts(NamedTuple):
    """phi: what every arm has paid."""

    successes: Int[Array, " arms"]
    failures: Int[Array, " arms"]
    begun: Bool[Array, ""]
    """Whether a pull precedes the next act."""

    @property
    def mean(self) -> Float[Array, " arms"]:
        """The posterior means (1 + s) / (2 + s + f)."""
        return (1.0 + self.successes) / (2.0 + self.successes + self.failures)


def counting(num_arms: int, choose: Callable[[Counts, Key], Array]) -> Agent:
    """The agent that pulls the arm `choose(counts, key)`."""

    def prior(theta: Any, key: Key) -> Counts:
        zeros = jnp.zeros(num_arms, jnp.int32)
        return Counts(zeros, zeros, jnp.array(False))

    def act(theta: Any, counts: Counts, timestep: TimeStep, key: Key):
        pulled = jax.nn.one_hot(timestep.prev_action, num_arms, dtype=jnp.int32) * counts.begun
        paid = (timestep.prev_reward > 0.5).astype(jnp.int32)
        counts = Counts(
            counts.successes + pulled * paid, counts.failures + pulled * (1 - paid), jnp.array(True)
        )
        return choose(counts, key), {}, counts

    return Agent(prior, act, lambda theta, counts, trajectories, key: counts)


def _highest(index: Float[Array, " arms"], key: Key) -> Array:
    """An arm of the highest index, ties broken at random."""
    best = index >= index.max() - 1e-6
    return jr.categorical(key, jnp.where(best, 0.0, -jnp.inf))


def uniform(num_arms: int) -> Agent:
    """Any arm."""
    return counting(num_arms, lambda counts, key: jr.randint(key, (), 0, num_arms))


def greedy(num_arms: int) -> Agent:
    """The arm of the highest posterior mean."""
    return counting(num_arms, lambda counts, key: _highest(counts.mean, key))


def thompson(num_arms: int) -> Agent:
    """The arm that is best in one draw of the posterior: p_i ~ Beta(1 + s_i, 1 + f_i)."""

    def choose(counts, key):
        return jnp.argmax(jr.beta(key, 1.0 + counts.successes, 1.0 + counts.failures))

    return counting(num_arms, choose)


def ucb1(num_arms: int, *, width: float = 1.0) -> Agent:
    """The arm of the highest upper confidence bound, with one prior pull of each outcome.

        (1 + s_i) / n_i + width sqrt(2 ln t / n_i),    n_i = 2 + s_i + f_i,    t = sum_i n_i

    The prior pulls count in t too, so that there is a bonus from the first pull on. RL2 tunes the
    width over 0, 0.1, ..., 1. Auer et al. 2002, https://doi.org/10.1023/A:1013689704352.
    """

    def choose(counts, key):
        pulls = 2.0 + counts.successes + counts.failures
        return _highest(counts.mean + width * jnp.sqrt(2 * jnp.log(pulls.sum()) / pulls), key)

    return counting(num_arms, choose)


def bayes_optimal(num_arms: int, pulls: int) -> tuple[Agent, float]:
    """The agent of the highest expected return over `pulls` pulls, and that return.

        V_n(s, f) = max_i  m_i (1 + V_{n+1}(s + e_i, f)) + (1 - m_i) V_{n+1}(s, f + e_i)
        m_i = (1 + s_i) / (2 + s_i + f_i),    V_pulls = 0

    A dynamic program over all counts, computed where this is called (numpy).

    Raises:
        ValueError: there are more than 5,000,000 counts to enumerate.
    """
    parts = 2 * num_arms
    total = math.comb(pulls - 1 + parts, parts)
    if total > MOST_STATES:
        raise ValueError(
            f"{num_arms} arms and {pulls} pulls have {total:,} counts, more than {MOST_STATES:,}: "
            "ask for fewer"
        )
    choose = _binomials(pulls + parts)
    value, tables = np.zeros(math.comb(pulls + parts - 1, parts - 1)), []
    for made in reversed(range(pulls)):
        counts = _compositions(made, parts)
        mean = (1.0 + counts[:, ::2]) / (2.0 + counts[:, ::2] + counts[:, 1::2])
        after = np.stack(
            [value[_rank(counts + one, choose)] for one in np.eye(parts, dtype=int)], 1
        )
        q = mean * (1.0 + after[:, ::2]) + (1.0 - mean) * after[:, 1::2]
        tables.append(q.argmax(axis=1).astype(np.int8))
        value = q.max(axis=1)
    actions = jnp.asarray(np.concatenate(tables[::-1]))
    starts = jnp.array([math.comb(made - 1 + parts, parts) for made in range(pulls)])

    def look_up(counts: Counts, key: Key) -> Array:
        flat = jnp.stack([counts.successes, counts.failures], axis=1).ravel()
        made = jnp.minimum(flat.sum(), pulls - 1)
        return actions[starts[made] + _rank(flat, jnp.asarray(choose))].astype(jnp.int32)

    return counting(num_arms, look_up), float(value[0])


def _binomials(top: int) -> np.ndarray:
    """C(n, k) for n and k up to `top`."""
    return np.array([[math.comb(n, k) for k in range(top)] for n in range(top)], dtype=float).clip(
        max=2**31 - 1
    ).astype(np.int32)  # fmt: skip


def _compositions(total: int, parts: int) -> Int[np.ndarray, "n parts"]:
    """Every way to write `total` as an ordered sum of `parts` counts, in the order of `_rank`."""
    bars = np.array(list(itertools.combinations(range(total + parts - 1), parts - 1)), dtype=int)
    edges = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, total + parts - 1)))
    return np.diff(edges, axis=1) - 1


def _rank(counts: Any, choose: Any) -> Any:
    """The number of a composition among those of its total, in lexicographic order.

    Those that agree up to part i and are smaller there: C(r + q, q) - C(r - c_i + q, q), with r
    what is left to share from part i on, and q the parts after it.
    """
    parts = counts.shape[-1]
    rank = 0
    left = counts.sum(axis=-1)
    for i in range(parts - 1):
        q = parts - 1 - i
        rank = rank + choose[left + q, q] - choose[left - counts[..., i] + q, q]
        left = left - counts[..., i]
    return rank
