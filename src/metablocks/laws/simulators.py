"""Laws of a `Physics`: what an engine must do for environments to be pure functions of it."""

import jax
import jax.numpy as jnp
import jax.random as jr

from metablocks.envs.physics import Physics
from metablocks.envs.physics.base import Overrides
from metablocks.laws.claim import for_all, same


def physics_is_pure(
    physics: Physics,
    *,
    overrides: Overrides | None = None,
    spread: float = 0.1,
    batch: int = 3,
    examples: int = 5,
) -> None:
    """step(s, u) is the same bit for bit, whatever was simulated between two calls.

    States are two steps after qpos ~ U[-spread, spread], qvel ~ spread N(0, 1); controls are
    U[-1, 1].
    """
    start, step = _functions(physics, overrides, spread)
    many, alone = jax.jit(jax.vmap(step)), jax.jit(step)

    def check(seed):
        k_state, k_others = jr.split(jr.key(seed))
        inputs = jax.vmap(start)(jr.split(k_state, batch))
        others = jax.vmap(start)(jr.split(k_others, batch))
        one, other = (jax.tree.map(lambda x: x[0], rows) for rows in (inputs, others))
        for left, between, right in (
            (lambda: many(*inputs), lambda: (many(*others), alone(*other)), lambda: many(*inputs)),
            (lambda: alone(*one), lambda: (alone(*other), many(*others)), lambda: alone(*one)),
        ):
            first = left()
            jax.block_until_ready(between())
            same(first, right(), "step(x) = step(x), other steps in between", seed=seed)

    for_all(check, examples=examples)


def physics_vmap_equals_loop(
    physics: Physics,
    *,
    overrides: Overrides | None = None,
    spread: float = 0.1,
    axes: tuple[int, ...] = (2, 1, 3),
    examples: int = 5,
    rtol: float = 1e-4,
    atol: float = 1e-4,
) -> None:
    """vmap(vmap(vmap(step)))(s, u)_{ijk} = step(s_ijk, u_ijk), over the leading `axes`.

    States and controls as in `physics_is_pure`.
    """
    start, step = _functions(physics, overrides, spread)
    nested, alone = step, jax.jit(step)
    for _ in axes:
        nested = jax.vmap(nested)
    nested = jax.jit(nested)
    total = jnp.zeros(axes).size

    def check(seed):
        rows = jax.vmap(start)(jr.split(jr.key(seed), total))
        folded = jax.tree.map(lambda x: x.reshape(*axes, *x.shape[1:]), rows)
        left = jax.tree.map(lambda x: x.reshape(total, *x.shape[len(axes) :]), nested(*folded))
        each = [alone(*jax.tree.map(lambda x: x[i], rows)) for i in range(total)]  # noqa: B023
        right = jax.tree.map(lambda *x: jnp.stack(x), *each)
        law = "vmap of step = loop of step"
        same(left, right, law, rtol=rtol, atol=atol, seed=seed, axes=axes)

    for_all(check, examples=examples)


def _functions(physics, overrides, spread):
    """key -> (state, control), and (state, control) -> the state two steps later."""
    overrides = physics.derive(overrides or {})

    def start(key):
        k_qpos, k_qvel, k_ctrl = jr.split(key, 3)
        qpos = jr.uniform(k_qpos, (physics.nq,), minval=-spread, maxval=spread)
        qvel = spread * jr.normal(k_qvel, (physics.nv,))
        ctrl = jr.uniform(k_ctrl, (physics.nu,), minval=-1.0, maxval=1.0)
        return physics.reset(qpos, qvel, overrides), ctrl

    def step(state, ctrl):
        return physics.step(physics.step(state, ctrl, overrides), ctrl, overrides)

    return start, step
