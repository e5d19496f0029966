"""New algorithms out of public blocks: who teaches whom in them, and that they learn."""

import importlib.util
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr
import pytest

from metablocks.collection import draw_trials, off_policy
from metablocks.evaluate import adaptation_curve
from metablocks.trees import all_finite, take
from metablocks.types import Agent

HERE = Path(__file__).parent
TINY = {
    "trial_episodes": 2, "capacity": 80, "grad_steps": 2, "meta_batch": 2, "batch": 3, "z_size": 2,
    "memory": 3, "width": 4, "elbo_terms": 3,
}  # fmt: skip
MORE = {
    "pearl_with_varibads_posterior": {"num_train_tasks": 3, "tasks_per_update": 2},
    "varibad_with_sac": {},
}


def load(name):
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def losses_of(name, module, cfg, agent, benchmark, state):
    """theta -> the losses of one task or trial of the state's data, by name."""
    if name == "varibad_with_sac":
        trial = take(draw_trials(state.kept, num=1, key=jr.key(5)), jnp.array(0))
        return lambda theta: module.trial_losses(cfg, theta, state.target, trial, jr.key(6))
    data, task = off_policy(agent, benchmark, cfg), jnp.zeros(1, jnp.int32)
    rows = data.batch(state.data, task, cfg.batch, jr.key(5))
    drawn = take((rows, *data.context(state.data, task, jr.key(7))), jnp.array(0))
    return lambda theta: module.task_losses(cfg, theta, state.target, *drawn, jr.key(6))


@pytest.mark.parametrize("name", MORE)
def test_the_elbo_teaches_the_belief_and_rewards_teach_the_rest(name):
    module = load(name)
    cfg = module.Config(**(TINY | MORE[name]))
    learner, agent, benchmark = module.make(cfg)
    state = jax.jit(learner.init)(jr.key(0))
    losses = losses_of(name, module, cfg, agent, benchmark, state)

    def taught(names):
        def loss(theta):
            told = losses(theta)
            assert set(told) == {"reconstruction", "kl", "critic", "policy"}
            return sum(jnp.sum(told[name]) for name in names)

        grads = jax.jit(jax.grad(loss))(state.theta)
        return [
            any(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(part))
            for part in (grads.encoder, grads.decoder, grads.sac)
        ]

    assert taught(("reconstruction", "kl")) == [True, True, False]
    assert taught(("critic", "policy")) == [False, False, True]
    after, metrics = jax.jit(learner.update)(state, jr.key(1))
    assert all_finite(after)
    tasks = MORE[name].get("num_train_tasks", cfg.meta_batch)
    assert metrics["env_steps"] == (tasks + 2) * cfg.trial_episodes * benchmark.horizon


BY_GRADIENT = ("cavia", "maesn_under_promp", "recurrent_maml")


@pytest.mark.parametrize("name", BY_GRADIENT)
def test_a_gradient_s_update_moves_theta_through_its_inner_steps(name):
    module = load(name)
    small = {"meta_batch": 2, "shots": 3, "width": 4, "epochs": 2}
    cfg = module.Config(**small | ({"horizon": 6} if name == "recurrent_maml" else {}))
    learner, _, benchmark = module.make(cfg)
    before = jax.jit(learner.init)(jr.key(0))
    after, metrics = jax.jit(learner.update)(before, jr.key(1))
    assert all_finite((after, metrics))
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), before.theta, after.theta)
    taught = jax.tree.leaves(moved.policy if name == "maesn_under_promp" else moved)
    idle = 2 if name == "recurrent_maml" else 0  # the value's weight and bias
    assert sum(not one for one in taught) == idle
    assert metrics["env_steps"] == 2 * 3 * (cfg.inner_steps + 1) * benchmark.horizon


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_GRADIENT)
def test_its_adaptation_is_worth_much_on_its_point_benchmark(name):
    """Returns after a round or two are far above those before any."""
    module = load(name)
    cfg = module.Config()
    learner, agent, benchmark = module.make(cfg)
    keys = jr.split(jr.key(1), cfg.num_updates)
    train = jax.jit(lambda state: jax.lax.scan(learner.update, state, keys)[0])
    theta = train(jax.jit(learner.init)(jr.key(0))).theta
    tasks = benchmark.test(jr.key(2), 100)
    returns, _ = adaptation_curve(
        agent, benchmark, theta, tasks, episodes=3, key=jr.key(3), shots=20
    )
    before, _, after = returns.mean(axis=0)
    gain = {"cavia": 20.0, "maesn_under_promp": 3.0, "recurrent_maml": 5.0}[name]
    assert after > before + gain


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_it_learns_the_dense_point_robot(name):
    """Better than staying in the middle, which is the best that can be done without adapting."""
    module = load(name)
    cfg = module.Config()
    learner, agent, benchmark = module.make(cfg)
    keys = jr.split(jr.key(1), cfg.num_updates)
    train = jax.jit(lambda state: jax.lax.scan(learner.update, state, keys)[0])
    theta = train(jax.jit(learner.init)(jr.key(0))).theta
    middle = Agent(
        lambda theta, key: None,
        lambda theta, phi, now, key: (jnp.clip(-now.obs / 0.1, -1, 1), {}, phi),
        lambda theta, phi, rows, key: phi,
    )
    tasks = benchmark.test(jr.key(2), 100)
    last = {
        who: adaptation_curve(who, benchmark, theta, tasks, episodes=3, key=jr.key(3))[0][:, -1]
        for who in (agent, middle)
    }
    assert last[agent].mean() > last[middle].mean() + 2.5
