"""Four corners of the plane, one of which is the goal."""

import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import Array

from metablocks.envs.point_goal import (
    Point,
    PointGoalEnv,
    minus_distance,
    never,
    point_benchmark,
    point_tasks,
    positive,
)
from metablocks.envs.tasks import fixed
from metablocks.types import Benchmark


def corners(*, sparse: bool = False, horizon: int = 100, radius: float = 0.5) -> Benchmark:
    """ProMP's four corners: the goal is one of (+-2, +-2), and only its corner of the plane pays.

        r = -d,    or sparse:  r = d(x) - d(x')  where |x'|_1 >= radius and no corner is nearer
        x' = x + 0.2 a,    x_0 ~ U[-0.2, 0.2]^2

    Actions lie in [-1, 1]^2; the released code maps [-10, 10]^2 to the same steps. The four tasks
    are the training and the test tasks (Rothfuss et al. 2019, https://arxiv.org/abs/1810.06784,
    section 7.3, and its released code). The sparse world's best agent is not known: leaving the
    corner by another's region and coming back pays again.
    """
    positive("horizon", horizon)
    positive("radius", radius)
    goals = np.array([[-2.0, -2.0], [2.0, -2.0], [-2.0, 2.0], [2.0, 2.0]])

    def closer(before: Point, after: Point, goal: Point) -> Array:
        distance = jnp.linalg.norm(after - goal)
        nearest = jnp.linalg.norm(after - jnp.asarray(goals, jnp.float32), axis=-1).min()
        pays = (jnp.abs(after).sum() >= radius) & (distance <= nearest + 1e-6)
        return jnp.where(pays, jnp.linalg.norm(before - goal) - distance, 0.0)

    env = PointGoalEnv(
        scale=0.2,
        reward=closer if sparse else minus_distance,
        start=lambda key: jr.uniform(key, (2,), minval=-0.2, maxval=0.2),
        reached=never,
    )
    tasks = fixed(point_tasks(goals, horizon))
    made = point_benchmark(env, horizon, tasks, tasks)
    return made._replace(oracle=None) if sparse else made
