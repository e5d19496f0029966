"""PEARL's recipe: every option learns on a world of a few steps, and the learner keeps its laws."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import jax.random as jr
import pytest

from metablocks import laws
from metablocks.evaluate import adaptation_curve
from metablocks.experiment import presets
from metablocks.trees import all_finite

TINY = {
    "num_updates": 3, "num_train_tasks": 2, "tasks_per_update": 1, "trial_episodes": 2,
    "explore_episodes": 2, "informed": 0.5, "explored_context": 0.5, "grad_steps": 2,
    "meta_batch": 2, "batch": 3, "context_rows": 5, "z_size": 2, "encoder_width": 4,
    "encoder_depth": 1, "width": 4, "depth": 1, "capacity": 90,
}  # fmt: skip


@pytest.fixture(scope="module")
def pearl(load):
    return load("pearl")


@pytest.fixture(scope="module")
def tiny(pearl):
    preset = presets(pearl.Config, pearl.__file__)["sparse-point-robot"]
    return lambda **options: dataclasses.replace(preset, **(TINY | options))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"encoder": "recurrent"},
        {"encoder_learns": "reconstruction", "context": "recent"},
        {"bottleneck": False, "context": "all", "context_next_obs": True},
        {"temperature": "automatic", "train_reward": "dense"},
        {"explore_episodes": 0, "informed": 0.0, "explored_context": 0.0},
    ],
    ids=lambda options: "-".join(options) or "preset",
)
def test_every_option_learns_and_counts(pearl, tiny, options):
    cfg = tiny(**options)
    learner, _, benchmark = pearl.make(cfg)
    before = jax.jit(learner.init)(jr.key(0))
    after, metrics = jax.jit(learner.update)(before, jr.key(1))

    def changed(old, new):
        moved = jax.tree.map(lambda a, b: jnp.any(a != b), old, new)
        return [bool(leaf) for leaf in jax.tree.leaves(moved)]

    assert all_finite(after)
    assert all(changed(before.theta.encoder, after.theta.encoder))
    assert all(changed(before.theta.sac.policy, after.theta.sac.policy))
    assert all(changed(before.theta.sac.critic, after.theta.sac.critic))
    assert changed(before.theta.sac.log_alpha, after.theta.sac.log_alpha) == [
        cfg.temperature == "automatic"
    ]
    assert ("bottleneck" in metrics) == cfg.bottleneck
    episodes = 2 * (cfg.trial_episodes + cfg.explore_episodes) + cfg.trial_episodes
    assert metrics["env_steps"] == episodes * benchmark.horizon
    assert metrics["grad_steps"] == 2


def test_what_each_number_weighs_and_who_teaches_the_encoder(pearl, tiny):
    """One step: target <- tau Q + (1 - tau) target; the critic's loss grows with the square of
    large rewards, the bottleneck's with beta; rewards reach the encoder by the critic or not."""

    def step(**options):
        scaled = {"grad_steps": 1, "train_reward": "dense", "kl_coef": 1.0, "tau": 0.3}
        learner, _, _ = pearl.make(tiny(**(scaled | options)))
        before = jax.jit(learner.init)(jr.key(0))
        return before, *jax.jit(learner.update)(before, jr.key(1))

    before, after, losses = step(encoder_learns="reconstruction", reward_scale=1e3)
    slow = jax.tree.map(
        lambda old, new: 0.7 * old + 0.3 * new, before.target, after.theta.sac.critic
    )
    chex.assert_trees_all_close(after.target, slow, rtol=1e-5)

    _, after_larger, larger = step(encoder_learns="reconstruction", reward_scale=1e4)
    assert larger["critic"] / losses["critic"] == pytest.approx(100, rel=0.02)
    chex.assert_trees_all_close(
        after_larger.theta.encoder, after.theta.encoder, rtol=1e-5, atol=1e-7
    )

    _, by_critic, weighed = step(encoder_learns="critic", reward_scale=1e3, kl_coef=3.0)
    assert weighed["bottleneck"] / losses["bottleneck"] == pytest.approx(3, rel=1e-5)
    _, by_none, _ = step(encoder_learns="critic", reward_scale=1e-3, kl_coef=3.0)
    distance = jax.tree.map(lambda a, b: abs(a - b).max(), by_critic.theta, by_none.theta)
    assert max(jax.tree.leaves(distance.encoder)) > 1e-5


def test_the_learner_keeps_its_laws(pearl, tiny):
    learner, _, _ = pearl.make(tiny())
    laws.learner_resumes_exactly(learner)
    laws.learner_vmap_equals_separate(learner)


def test_the_agent_keeps_the_structure_of_phi(pearl, tiny):
    learner, agent, benchmark = pearl.make(tiny())
    laws.agent_preserves_structure(agent, benchmark, learner.init(jr.key(0)).theta)


def test_every_preset_can_be_made(pearl):
    for cfg in presets(pearl.Config, pearl.__file__).values():
        learner, agent, benchmark = pearl.make(cfg)
        state = jax.eval_shape(learner.init, jr.key(0))
        tasks = jax.eval_shape(lambda key: benchmark.test(key, 2), jr.key(0))  # noqa: B023
        returns, _ = jax.eval_shape(
            lambda theta, tasks: adaptation_curve(
                agent, benchmark, theta, tasks, episodes=2, key=jr.key(0)  # noqa: B023
            ),
            state.theta,
            tasks,
        )  # fmt: skip
        assert returns.shape == (2, 2)


@pytest.mark.slow
def test_it_adapts_on_the_dense_point_robot(pearl):
    """Third episode above -10.5 after a third of the preset's run; -16 without adaptation."""
    preset = presets(pearl.Config, pearl.__file__)["point-robot"]
    learner, agent, benchmark = pearl.make(dataclasses.replace(preset, num_updates=30))
    state = jax.jit(learner.init)(jr.key(0))
    state, _ = jax.jit(
        lambda state, keys: jax.lax.scan(learner.update, state, keys), donate_argnums=0
    )(state, jr.split(jr.key(1), 30))
    returns, _ = adaptation_curve(
        agent, benchmark, state.theta, benchmark.test(jr.key(2), 100), episodes=3, key=jr.key(3)
    )
    assert returns[:, 2].mean() > -10.5 > returns[:, 0].mean() + 2
