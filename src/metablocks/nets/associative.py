"""A memory that is addressed by what is stored there."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from metablocks.types import Key


class AssociativeMemory(eqx.Module):
    """Fast weights: what was met at a place is found again at places like it.

        M_t = M_{t-1} + v_t k_{t-1}^T,    c_t = M_t k_t,    k_t = W_k s_t,
        v_t = relu(W_v x_t + b)

    so c_t = sum_{i <= t} (k_{i-1} . k_t) v_i: x_i, which tells of the step from s_{i-1}, is summed
    up by where it was made. A sum over T steps at once, where a recurrent cell needs T in a row.
    Schmidhuber 1992; Ba et al. 2016, https://arxiv.org/abs/1610.06258; without normalisation the
    linear attention of Katharopoulos et al. 2020, https://arxiv.org/abs/2006.16236.

    Args:
        place_size: length of s.
        in_size: length of x.
        size: length of keys and values.

    Raises:
        ValueError: a size is not positive.
    """

    key: Float[Array, "size place"]
    value: eqx.nn.Linear

    def __init__(self, place_size: int, in_size: int, size: int, *, key: Key):
        if min(place_size, in_size, size) < 1:
            raise ValueError(
                f"a memory needs positive sizes, got {place_size}, {in_size} and {size}"
            )
        k_key, k_value = jr.split(key)
        self.key = jr.normal(k_key, (size, place_size)) / jnp.sqrt(size)
        self.value = eqx.nn.Linear(in_size, size, key=k_value)

    def init(self) -> Float[Array, "size size"]:
        """The memory of nothing: zeros."""
        return jnp.zeros((len(self.key), len(self.key)))

    def __call__(
        self,
        memory: Float[Array, "size size"],
        before: Float[Array, " place"],
        place: Float[Array, " place"],
        x: Float[Array, " x"],
    ) -> tuple[Float[Array, "size size"], Float[Array, " size"]]:
        """x is kept at the place before, and what is known of the place is read."""
        memory = memory + jnp.outer(self._value(x), self.key @ before)
        return memory, memory @ (self.key @ place)

    def unroll(
        self,
        memory: Float[Array, "size size"],
        before: Float[Array, "T place"],
        places: Float[Array, "T place"],
        xs: Float[Array, "T x"],
    ) -> tuple[Float[Array, "size size"], Float[Array, "T size"]]:
        """The last memory, and what was read at every step."""
        written, asked = before @ self.key.T, places @ self.key.T
        values = jax.vmap(self._value)(xs)
        reads = jnp.tril(asked @ written.T) @ values + asked @ memory.T
        return memory + values.T @ written, reads

    def _value(self, x: Float[Array, " x"]) -> Float[Array, " size"]:
        return jax.nn.relu(self.value(x))
