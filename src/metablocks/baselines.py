"""State values in closed form, for one task's data."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def linear_features(obs: Float[Array, "T d"]) -> Float[Array, "T f"]:
    """The features of a trajectory's steps: (s, s^2, t, t^2, t^3, 1), f = 2 d + 4.

    s is clipped to [-10, 10], t counts in hundreds. Duan et al. 2016, section 5,
    https://arxiv.org/abs/1604.06778.
    """
    obs = jnp.clip(obs, -10.0, 10.0)
    t = jnp.arange(len(obs), dtype=jnp.float32)[:, None] / 100.0
    return jnp.concatenate([obs, obs**2, t, t**2, t**3, jnp.ones_like(t)], axis=1)


def linear_baseline(
    features: Float[Array, "N T f"],
    returns: Float[Array, "N T"],
    where: Bool[Array, "N T"],
    *,
    ridge: float = 1e-5,
) -> Float[Array, "N T"]:
    """The values that a linear fit gives to the very steps that it was fitted on.

        V = X w,    w = (X^T X + lambda I)^-1 X^T G,    X, G the rows that `where` names,
        every column of X over its root mean square, lambda = ridge * the number of rows

    A ridge relative to every feature's own size keeps repeated features solvable in float32, and
    leaves small features as free as large ones.

    Args:
        features: of N trajectories of one task.
        returns: what is to be expected from every step on.
    """
    num = where.sum() + 1e-8
    rows = features * where[..., None]
    size = jnp.sqrt((rows**2).sum(axis=(0, 1)) / num) + 1e-8
    rows = rows / size
    gram = jnp.einsum("ntf,ntg->fg", rows, rows) / num
    told = jnp.einsum("ntf,nt->f", rows, returns) / num
    weights = jnp.linalg.solve(gram + ridge * jnp.eye(len(gram)), told)
    return (features / size) @ weights
