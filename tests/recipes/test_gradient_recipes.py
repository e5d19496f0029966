"""MAML, E-MAML, ProMP and MAESN: what each one's outer gradient holds, and what it leaves out."""

import dataclasses

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks import laws
from metablocks.collection import new_rounds
from metablocks.evaluate import adaptation_curve, trial
from metablocks.experiment import presets
from metablocks.losses import dice_loss
from metablocks.trees import all_finite, take

TINY = {"num_updates": 3, "meta_batch": 2, "shots": 3, "width": 4}
NAMES = ("maml", "emaml", "promp", "maesn")
MORE = {"maesn": {"num_train_tasks": 4}, "emaml": {"epochs": 2}, "promp": {"epochs": 2}}


def config(load, name, **options):
    """A small configuration of a recipe's first preset."""
    module = load(name)
    cfg = next(iter(presets(module.Config, module.__file__).values()))
    return dataclasses.replace(cfg, **(TINY | MORE.get(name, {}) | options))


@pytest.fixture(scope="module")
def made(load):
    """(recipe, options) -> (learner, agent, benchmark)."""

    def one(name, **options):
        return load(name).make(config(load, name, **options))

    return one


def updated(learner, key=jr.key(0)):  # noqa: B008
    before = jax.jit(learner.init)(key)
    return before, *jax.jit(learner.update)(before, jr.key(1))


@pytest.mark.parametrize("name", ["maml", "maesn"])
def test_an_update_moves_theta_and_counts(made, name):
    learner, _, benchmark = made(name, inner_steps=2, step_sizes="meta-sgd")
    before, after, metrics = updated(learner)
    assert all_finite(after)
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), before.theta, after.theta)
    assert all(jax.tree.leaves(moved))
    assert metrics["env_steps"] == 2 * 3 * 3 * benchmark.horizon
    assert metrics["grad_steps"] == MORE.get(name, {}).get("epochs", 1)


def test_the_learner_keeps_its_laws(made):
    learner, agent, benchmark = made("maesn")
    laws.learner_resumes_exactly(learner)
    laws.learner_vmap_equals_separate(learner, num_updates=1, rtol=1e-3, atol=1e-4)
    theta = learner.init(jr.key(0)).theta

    laws.agent_preserves_structure(agent, benchmark, theta, shots=2, examples=1, clipped=True)


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
               "inner_lr": 0.5, "outer_rounds": "last", "lr": 1e-3,
               "last_scale": 1.0}  # fmt: skip
    _, maml, _ = updated(made("maml", outer="ppo", **options)[0])
    _, blind, _ = updated(made("emaml", credit_coef=0.0, **options)[0])
    chex.assert_trees_all_close(maml.outer, blind.opt_state, rtol=1e-4, atol=1e-7)
    chex.assert_trees_all_close(maml.theta, blind.theta, rtol=1e-4, atol=1e-6)


def moments(state):
    """Adam's first moments of the policy's parameters."""
    opt_state = state.outer if hasattr(state, "outer") else state.opt_state
    return opt_state.inner_states["rest"].inner_state[0].mu.policy


def slope_of(state):
    """The first gradient of a run, out of Adam's first moments (beta_1 = 0.9)."""
    return jax.tree.map(lambda moment: moment / 0.1, moments(state))


def of_policy(theta):
    """What one can differentiate of theta, apart from its step sizes."""
    return lambda policy: theta._replace(policy=policy)


INNER = {
    "likelihood": lambda log_prob, advantage: -log_prob * advantage,
    "dice": lambda log_prob, advantage: jax.vmap(dice_loss)(log_prob, advantage),
}


def thetas_of(cfg, theta, rounds, inner="likelihood"):
    """theta_0, ..., theta_K of one task [K + 1, N, T], step by step."""
    thetas = [theta.policy]
    for k in range(cfg.inner_steps):
        rows = take(rounds, jnp.array(k))

        def loss(policy):
            return INNER[inner](seen(policy, rows), rows.extras["advantage"]).mean()  # noqa: B023

        slope = jax.grad(loss)(thetas[-1])
        slope = jax.lax.stop_gradient(slope) if cfg.first_order else slope
        thetas.append(jax.tree.map(lambda p, g: p - cfg.inner_lr * g, thetas[-1], slope))
    return thetas


def seen(policy, rows):
    """log pi of what was done, [N, T]."""
    each = lambda obs, action: policy(obs).log_prob(action)
    return jax.vmap(jax.vmap(each))(rows.timestep.obs, rows.action)


def tasks_of(rounds):
    return [take(rounds, jnp.array(b)) for b in range(2)]


def close(told, want):
    """Two gradients, to a thousandth of the larger one's length."""
    told, want = (jax.flatten_util.ravel_pytree(tree)[0] for tree in (told, want))
    np.testing.assert_allclose(told, want, rtol=1e-2, atol=2e-3 * float(jnp.abs(want).max()))
    assert jnp.abs(want).max() > 1e-4


ONE_STEP = {"benchmark": "navigation", "inner_steps": 1, "outer_rounds": "last", "epochs": 1,
            "step_sizes": "fixed"}  # fmt: skip


@pytest.mark.parametrize("more", [{}, {"first_order": True}, {"inner": "dice"}], ids=str)
def test_maml_s_meta_gradient_goes_through_the_inner_step_that_is_asked_for(load, made, more):
    options = ONE_STEP | {"outer": "ppo", "inner_lr": 5.0} | more
    cfg, (learner, agent, benchmark) = config(load, "maml", **options), made("maml", **options)
    before, after, _ = updated(learner)
    rounds = new_rounds(agent, benchmark, cfg, before.theta, jr.key(1))

    def loss(policy):
        total = 0.0
        for one in tasks_of(rounds):
            last = thetas_of(cfg, of_policy(before.theta)(policy), one, cfg.inner)[-1]
            rows = take(one, jnp.array(1))
            ratio = jnp.exp(seen(last, rows) - rows.extras["log_prob"])
            total -= (ratio * rows.extras["advantage"]).mean() / 2
        return total

    close(slope_of(after), jax.jit(jax.grad(loss))(before.theta.policy))
    assert before.theta.alpha == after.theta.alpha


@pytest.mark.parametrize("outer_rounds", ["every", "last"])
def test_e_maml_credits_every_round_for_all_that_follow_it(load, made, outer_rounds):
    """w_0 = (R_1 + R_2) / 2, w_1 = R_2 / 2: the sum of the outer rounds that D_k led to.

    Where the last round alone is outer, w_0 = w_1 = R_2.
    """
    options = ONE_STEP | {"inner_steps": 2, "outer_rounds": outer_rounds, "inner_lr": 0.5}
    cfg, (learner, agent, benchmark) = config(load, "emaml", **options), made("emaml", **options)
    before, paid, _ = updated(learner)
    _, blind, _ = updated(made("emaml", credit_coef=0.0, **options)[0])
    rounds = new_rounds(agent, benchmark, cfg, before.theta, jr.key(1))
    returns = (rounds.extras["live"] * rounds.reward).sum(-1).mean(-1)[:, 1:]
    worth = (returns - returns.mean(0)) / returns.std(0)
    weights = jnp.stack([worth.sum(axis=1) / 2, worth[:, 1] / 2], axis=1)
    if outer_rounds == "last":
        weights = jnp.stack([worth[:, 1]] * 2, axis=1)

    def loss(policy):
        total = 0.0
        for one, weight in zip(tasks_of(rounds), weights, strict=True):
            thetas = thetas_of(cfg, of_policy(before.theta)(policy), one)
            for k in range(2):
                rows = take(one, jnp.array(k))
                log_prob = rows.extras["live"] * seen(thetas[k], rows)
                total -= weight[k] * log_prob.mean() / 4
        return total

    credit = jax.tree.map(lambda a, b: a - b, slope_of(paid), slope_of(blind))
    close(credit, jax.jit(jax.grad(loss))(before.theta.policy))


@pytest.mark.parametrize(
    ("name", "credit", "more"),
    [("emaml", 3.0, {"credit_coef": 3.0}), ("maml", 0.0, {"outer": "ppo"})],
    ids=["emaml", "maml"],
)
def test_a_second_epoch_weighs_the_data_by_their_ratio(load, made, name, credit, more):
    """Inner step and credit, at the theta that the first epoch led to, held still in the ratio."""
    options = ONE_STEP | {"inner_lr": 0.5, "lr": 3e-2} | more
    cfg, (learner, agent, benchmark) = config(load, name, **options), made(name, **options)
    before, first, _ = updated(learner)
    _, second, _ = updated(made(name, **(options | {"epochs": 2}))[0])
    slope = jax.tree.map(lambda two, one: 10 * two - 9 * one, moments(second), moments(first))
    rounds = new_rounds(agent, benchmark, cfg, before.theta, jr.key(1))
    returns = (rounds.extras["live"] * rounds.reward).sum(-1).mean(-1)[:, 1]
    worth = (returns - returns.mean()) / returns.std()

    def loss(policy):
        total = 0.0
        for one, weight in zip(tasks_of(rounds), worth, strict=True):
            pre, post = (take(one, jnp.array(k)) for k in range(2))
            ratio = jnp.exp(seen(first.theta.policy, pre) - pre.extras["log_prob"])
            paid = lambda policy, a, rows=pre, r=ratio: -(r * a * seen(policy, rows)).mean()
            slope = jax.grad(paid)(policy, pre.extras["advantage"])
            after = jax.tree.map(lambda p, g: p - 0.5 * g, policy, slope)
            new, a = jnp.exp(seen(after, post) - post.extras["log_prob"]), post.extras["advantage"]
            total -= jnp.minimum(new * a, jnp.clip(new, 0.7, 1.3) * a).mean() / 2
            total += credit * paid(policy, weight * pre.extras["live"]) / 2
        return total

    close(slope, jax.jit(jax.grad(loss))(first.theta.policy))


def test_promp_s_second_epoch_is_clipped_on_d_prime_and_held_near_what_made_d(load, made):
    """Adam's moments after two epochs tell the gradient at the theta that the first led to.

    The penalty's weight doubles afterwards, as the KL is far above its target.
    """
    options = ONE_STEP | {"inner_lr": 0.5, "lr": 3e-2, "kl_coef": 3.0, "epsilon": 0.1}
    cfg, (learner, agent, benchmark) = config(load, "promp", **options), made("promp", **options)
    before, first, _ = updated(learner)
    _, second, _ = updated(made("promp", **(options | {"epochs": 2, "kl_target": 1e-9}))[0])
    np.testing.assert_allclose(second.kl_coef, 6.0)
    slope = jax.tree.map(lambda two, one: 10 * two - 9 * one, moments(second), moments(first))
    rounds = new_rounds(agent, benchmark, cfg, before.theta, jr.key(1))

    def loss(policy):
        total = 0.0
        for one in tasks_of(rounds):
            pre, post = (take(one, jnp.array(k)) for k in range(2))
            inner = lambda policy, rows=pre: (
                -(
                    jnp.exp(seen(policy, rows) - rows.extras["log_prob"]) * rows.extras["advantage"]
                ).mean()
            )
            after = jax.tree.map(lambda p, g: p - 0.5 * g, policy, jax.grad(inner)(policy))
            ratio, a = (
                jnp.exp(seen(after, post) - post.extras["log_prob"]),
                post.extras["advantage"],
            )
            total -= jnp.minimum(ratio * a, jnp.clip(ratio, 0.9, 1.1) * a).mean() / 2
            far = jax.vmap(jax.vmap(lambda old, obs: old.kl(policy(obs)).sum()))
            kl = far(pre.extras["pi"], pre.timestep.obs)
            total += 3.0 * jnp.mean(kl, where=pre.extras["live"]) / 2
        return total

    close(slope, jax.jit(jax.grad(loss))(first.theta.policy))


def test_maml_s_trust_region_bounds_how_far_the_adapted_policies_move(load, made):
    """KL(old || new) on D', recomputed."""
    options = {"radius": 1e-4, "step_sizes": "fixed", "inner_steps": 1}
    cfg, (learner, agent, benchmark) = config(load, "maml", **options), made("maml", **options)
    before, after, metrics = updated(learner)
    rounds, total = new_rounds(agent, benchmark, cfg, before.theta, jr.key(1)), []
    for one in tasks_of(rounds):
        old, new = (thetas_of(cfg, state.theta, one)[-1] for state in (before, after))
        rows = take(one, jnp.array(1))
        far = jax.vmap(jax.vmap(lambda obs: old(obs).kl(new(obs)).sum()))  # noqa: B023
        total.append(far(rows.timestep.obs))
    kl = jnp.mean(jnp.stack(total), where=rounds.extras["live"][:, 1])
    np.testing.assert_allclose(kl, metrics["divergence"], rtol=5e-2)
    assert 1e-6 < kl <= 1e-4


def test_maesn_holds_the_laws_it_met_near_the_standard_one(made):
    """w d KL(N(mu_i, sigma_i^2) || N(0, 1)) = w (mu_i, sigma_i^2 - 1), over the tasks met.

    No other task's law moves, also where Adam's momentum remembers it.
    """
    options = {"outer": "ppo", "epochs": 1, "step_sizes": "fixed"}
    slopes = []
    for kl_coef in (5.0, 0.0):
        learner, _, _ = made("maesn", kl_coef=kl_coef, **options)
        state = learner.init(jr.key(0))
        laws = eqx.tree_at(lambda laws: laws.log_scale, state.theta.laws, jnp.full((4, 2), 0.3))
        state = state._replace(theta=state.theta._replace(laws=laws))
        update = jax.jit(learner.update)
        after, _ = update(state, jr.key(1))
        assert state.theta.alpha == after.theta.alpha
        for k in range(3):
            later, _ = update(after, jr.key(k))
            shifts = jnp.abs(later.theta.laws.mean - after.theta.laws.mean)
            assert (shifts.max(axis=1) > 0).sum() == 2
        slopes.append(after.outer.inner_states["rest"].inner_state[0].mu.laws)
    told = jax.tree.map(lambda a, b: (a - b) / 0.1, *slopes)
    met = jnp.abs(told.log_scale[:, 0]) > 1e-3
    assert met.sum() == 2
    np.testing.assert_allclose(told.mean, met[:, None] * 5 * laws.mean / 2, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(
        told.log_scale[met], 5 * (np.exp(0.6) - 1) / 2 * np.ones((2, 2)), rtol=1e-3
    )


def test_maesn_s_steps_of_log_sigma_have_their_share(made):
    laws = []
    for share in (0.0, 0.5, 1.0):
        learner, agent, benchmark = made("maesn", scale_share=share)
        theta = learner.init(jr.key(0)).theta
        task = take(benchmark.train(jr.key(1), 1), jnp.array(0))
        phi, _ = trial(
            agent, benchmark.env, theta, agent.prior(theta, jr.key(2)), task, episodes=1,
            horizon=benchmark.horizon, key=jr.key(3), shots=3,
        )  # fmt: skip
        laws.append(phi.adapted.params)
    none, half, whole = laws
    assert jnp.abs(whole.log_scale).min() > 0
    np.testing.assert_array_equal(none.log_scale, 0.0)
    np.testing.assert_allclose(half.log_scale, whole.log_scale / 2, rtol=1e-5)
    np.testing.assert_allclose(none.mean, whole.mean, rtol=1e-5)


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
        ("maml", {"inner": "dice", "first_order": True}, "first_order has none: leave one out"),
        ("emaml", {"meta_batch": 1}, "^meta_batch must be at least 2 where credit_coef is above 0"),
        ("maesn", {"shots": 1}, "^shots must be at least 2, .* got 1: give more"),
        ("maesn", {"eval_shots": 1}, "^eval_shots must be at least 2"),
    ],
)
def test_numbers_that_do_not_fit_are_named(made, name, options, line):
    with pytest.raises(ValueError, match=line):
        made(name, **options)
