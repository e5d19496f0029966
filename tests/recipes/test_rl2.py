"""RL2's recipe: what it credits, what its memory keeps, and that it learns."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks import laws
from metablocks.evaluate import adaptation_curve
from metablocks.experiment import presets
from metablocks.trees import all_finite
from metablocks.types import TimeStep

TINY = {
    "num_updates": 3, "meta_batch": 4, "trial_episodes": 2, "epochs": 2, "minibatches": 2,
    "width": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def rl2(load):
    return load("rl2")


def config(rl2, preset="gridworld", **options):
    known = presets(rl2.Config, rl2.__file__)
    return dataclasses.replace(known[preset], **(TINY | options))


@pytest.mark.parametrize("benchmark", ["gridworld", "sparse-point-robot"])
def test_an_update_moves_every_parameter_and_counts(rl2, benchmark):
    cfg = config(rl2, benchmark=benchmark)
    learner, _, world = rl2.make(cfg)
    before = jax.jit(learner.init)(jr.key(0))
    after, metrics = jax.jit(learner.update)(before, jr.key(1))
    assert all_finite(after)
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), before.theta, after.theta)
    assert all(jax.tree.leaves(moved))
    assert metrics["env_steps"] == 4 * 2 * world.horizon
    assert metrics["grad_steps"] == 4


def test_the_learner_keeps_its_laws(rl2):
    learner, agent, benchmark = rl2.make(config(rl2))
    laws.learner_resumes_exactly(learner)
    laws.learner_vmap_equals_separate(learner)
    laws.agent_preserves_structure(
        agent, benchmark, learner.init(jr.key(0)).theta, shots=1, examples=1
    )


def test_the_first_policy_is_as_noisy_as_asked(rl2):
    cfg = config(rl2, benchmark="sparse-point-robot", log_scale=-1.5)
    theta = rl2.make(cfg)[0].init(jr.key(0)).theta
    np.testing.assert_array_equal(theta.policy.log_scale, -1.5)


def test_e_rl2_credits_other_rewards_of_the_same_trials(rl2):
    cfg = config(rl2, explore_episodes=1, entropy_coef=0.0, value_coef=0.0)
    learner, _, _ = rl2.make(cfg)
    before = jax.jit(learner.init)(jr.key(0))
    _, metrics = jax.jit(learner.update)(before, jr.key(1))
    assert metrics["return"] != 0
    credited, _, _ = rl2.make(config(rl2, explore_episodes=0, entropy_coef=0.0, value_coef=0.0))
    _, other = jax.jit(credited.update)(before, jr.key(1))
    assert metrics["policy"] != other["policy"]
    assert metrics["return"] == other["return"]  # the same trials


def test_the_memory_of_the_exploration_reaches_the_last_episode(rl2):
    learner, _, _ = rl2.make(config(rl2, explore_episodes=1))
    theta = learner.init(jr.key(0)).theta
    steps = jax.vmap(TimeStep)(
        jr.normal(jr.key(1), (30, 25)), jnp.zeros(30, jnp.int32), jnp.zeros(30),
        jnp.arange(30) % 15 == 0,
    )  # fmt: skip

    def last(obs):
        return theta.unroll(theta.init(), eqx.tree_at(lambda s: s.obs, steps, obs))[1][1][-1]

    slope = jax.grad(last)(steps.obs)
    assert (jnp.abs(slope[:15]).max(axis=1) > 0).all()


def test_every_preset_can_be_made(rl2):
    for cfg in presets(rl2.Config, rl2.__file__).values():
        learner, agent, benchmark = rl2.make(cfg)
        state = jax.eval_shape(learner.init, jr.key(0))
        jax.eval_shape(learner.update, state, jr.key(0))
        tasks = jax.eval_shape(lambda key: benchmark.test(key, 2), jr.key(0))  # noqa: B023
        jax.eval_shape(
            lambda theta, tasks: adaptation_curve(
                agent, benchmark, theta, tasks, episodes=1, key=jr.key(0)  # noqa: B023
            ),
            state.theta,
            tasks,
        )  # fmt: skip
