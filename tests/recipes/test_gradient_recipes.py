"""MAML, E-MAML, ProMP and MAESN: what each one's outer gradient holds, and what it leaves out."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks import laws
from metablocks.evaluate import adaptation_curve, trial
from metablocks.experiment import presets
from metablocks.trees import all_finite, take

TINY = {"num_updates": 3, "meta_batch": 2, "shots": 3, "width": 4}
NAMES = ("maml", "emaml", "promp", "maesn")
MORE = {"maesn": {"num_train_tasks": 4}, "emaml": {"epochs": 2}, "promp": {"epochs": 2}}


@pytest.fixture(scope="module")
def made(load):
    """(recipe, options) -> (learner, agent, benchmark)."""

    def one(name, **options):
        module = load(name)
        cfg = next(iter(presets(module.Config, module.__file__).values()))
        return module.make(dataclasses.replace(cfg, **(TINY | MORE.get(name, {}) | options)))

    return one


def updated(learner, key=jr.key(0)):  # noqa: B008
    before = jax.jit(learner.init)(key)
    return before, *jax.jit(learner.update)(before, jr.key(1))


@pytest.mark.parametrize("name", NAMES)
def test_an_update_moves_theta_and_counts(made, name):
    learner, _, benchmark = made(name, inner_steps=2, step_sizes="meta-sgd")
    before, after, metrics = updated(learner)
    assert all_finite(after)
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), before.theta, after.theta)
    assert all(jax.tree.leaves(moved))
    assert metrics["env_steps"] == 2 * 3 * 3 * benchmark.horizon
    assert metrics["grad_steps"] == MORE.get(name, {}).get("epochs", 1)


@pytest.mark.parametrize("name", ["maml", "maesn"])
def test_a_fixed_step_size_stays(made, name):
    learner, _, _ = made(name, step_sizes="fixed")
    before, after, _ = updated(learner)
    assert before.theta.alpha == after.theta.alpha


@pytest.mark.parametrize("name", ["promp", "maesn"])
def test_the_learner_keeps_its_laws(made, name):
    learner, agent, benchmark = made(name)
    laws.learner_resumes_exactly(learner)
    laws.learner_vmap_equals_separate(learner, rtol=1e-3, atol=1e-4)
    theta = learner.init(jr.key(0)).theta

    def act(theta, phi, timestep, key):  # a normal's draws know no bounds: the worlds clip them
        action, extras, phi = agent.act(theta, phi, timestep, key)
        return jnp.clip(action, -1.0, 1.0), extras, phi

    within = agent._replace(act=act)
    laws.agent_preserves_structure(within, benchmark, theta, shots=2, examples=1)


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_can_be_made(load, name):
    module = load(name)
    for cfg in presets(module.Config, module.__file__).values():
        learner, agent, benchmark = module.make(cfg)
        state = jax.eval_shape(learner.init, jr.key(0))
        jax.eval_shape(learner.update, state, jr.key(0))
        tasks = jax.eval_shape(lambda key: benchmark.test(key, 2), jr.key(0))  # noqa: B023
        jax.eval_shape(
            lambda theta, tasks: adaptation_curve(
                agent, benchmark, theta, tasks, episodes=2, key=jr.key(0), shots=3  # noqa: B023
            ),
            state.theta,
            tasks,
        )  # fmt: skip


def test_e_maml_without_credit_is_maml(made):
    """The same data, and the same gradient: Adam's moments tell its size."""
    options = {"benchmark": "navigation", "epochs": 1, "step_sizes": "meta-sgd", "inner_steps": 1,
               "inner_lr": 0.5, "outer_rounds": "last", "lr": 1e-3}  # fmt: skip
    _, maml, _ = updated(made("maml", outer="ppo", **options)[0])
    _, blind, _ = updated(made("emaml", credit_coef=0.0, **options)[0])
    chex.assert_trees_all_close(maml.outer, blind.opt_state, rtol=1e-4, atol=1e-7)
    chex.assert_trees_all_close(maml.theta, blind.theta, rtol=1e-4, atol=1e-6)
    _, paid, _ = updated(made("emaml", credit_coef=1.0, **options)[0])
    credit = jax.tree.map(lambda a, b: a - b, moments(paid), moments(blind))
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(credit)) > 1e-4


def moments(state):
    """Adam's first moments of the policy's parameters."""
    opt_state = state.outer if hasattr(state, "outer") else state.opt_state
    return opt_state.inner_states["rest"].inner_state[0].mu.policy


def test_maml_s_inner_losses_and_orders_give_different_meta_gradients(made):
    """Each leaves out, or puts in, another part of the second derivative."""
    options = {"outer": "ppo", "epochs": 1, "inner_lr": 5.0, "step_sizes": "fixed"}
    flat = [
        jax.flatten_util.ravel_pytree(moments(updated(made("maml", **options, **more)[0])[1]))[0]
        for more in ({}, {"first_order": True}, {"inner": "dice"})
    ]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert jnp.linalg.norm(flat[i] - flat[j]) > 0.05 * jnp.linalg.norm(flat[i]), (i, j)


def test_promp_s_penalty_adapts_to_its_target(made):
    _, far, metrics = updated(made("promp", kl_target=1e-9)[0])
    assert metrics["kl"] > 0
    np.testing.assert_allclose(far.kl_coef, 5e-4 * 2)


def test_maml_s_trust_region_bounds_the_adapted_policies(made):
    _, _, metrics = updated(made("maml", radius=1e-4)[0])
    assert 0 < metrics["divergence"] <= 1e-4


def test_maesn_moves_the_laws_of_the_tasks_it_met_and_no_other(made):
    """Also when Adam's momentum remembers another task."""
    learner, _, _ = made("maesn", meta_batch=1, outer="ppo")
    state = jax.jit(learner.init)(jr.key(0))
    for k in range(3):
        after, _ = jax.jit(learner.update)(state, jr.key(k))
        moved = jnp.abs(after.theta.laws.mean - state.theta.laws.mean).max(axis=1) > 0
        assert moved.sum() == 1
        state = after


def test_maesn_s_inner_steps_can_leave_sigma_alone(made):
    for adapts in ("mean", "law"):
        learner, agent, benchmark = made("maesn", adapts=adapts)
        theta, task = (
            learner.init(jr.key(0)).theta,
            take(benchmark.train(jr.key(1), 1), jnp.array(0)),
        )
        phi, _ = trial(
            agent, benchmark.env, theta, agent.prior(theta, jr.key(2)), task, episodes=1,
            horizon=benchmark.horizon, key=jr.key(3), shots=3,
        )  # fmt: skip
        assert jnp.abs(phi.adapted.params.mean).min() > 0
        assert bool(jnp.any(phi.adapted.params.log_scale != 0)) == (adapts == "law")


def test_maesn_starts_new_tasks_from_the_standard_law(made):
    learner, agent, _ = made("maesn")
    theta = learner.init(jr.key(0)).theta
    law = agent.prior(theta, jr.key(1)).adapted.params
    np.testing.assert_array_equal(law.mean, 0.0)
    np.testing.assert_array_equal(law.log_scale, 0.0)


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("maesn", {"meta_batch": 5}, r"meta_batch must be at most num_train_tasks \(4\), got 5"),
        ("promp", {"kl_coef": 0.0, "kl_target": 0.01}, "kl_coef must be above 0"),
        ("maml", {"radius": 0.0}, "radius must be positive, got 0"),
    ],
)
def test_numbers_that_do_not_fit_are_named(made, name, options, line):
    with pytest.raises(ValueError, match=line):
        made(name, **options)
