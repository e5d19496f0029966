"""VariBAD's recipe: who teaches whom, what the policy sees, what the buffer holds."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks import laws
from metablocks.collection import new_trials
from metablocks.experiment import plot, presets, scenery
from metablocks.ppo import ppo
from metablocks.trees import all_finite

TINY = {
    "num_updates": 3, "meta_batch": 4, "trial_episodes": 2, "epochs": 1, "minibatches": 2,
    "width": 4, "z_size": 2, "memory": 3, "decoder_width": 4, "vae_steps": 2, "vae_batch": 3,
    "vae_warmup": 1, "vae_capacity": 6, "elbo_terms": 5,
}  # fmt: skip


@pytest.fixture(scope="module")
def varibad(load):
    return load("varibad")


def config(varibad, **options):
    preset = presets(varibad.Config, varibad.__file__)["gridworld"]
    return dataclasses.replace(preset, **(TINY | options))


def stepped(varibad, **options):
    learner, _, benchmark = varibad.make(config(varibad, **options))
    before = jax.jit(learner.init)(jr.key(0))
    return before, *jax.jit(learner.update)(before, jr.key(1)), benchmark


def moved(old, new):
    return [bool(jnp.any(a != b)) for a, b in zip(*map(jax.tree.leaves, (old, new)), strict=True)]


@pytest.mark.parametrize(
    "options",
    [{"benchmark": "bandit", "decodes": "arms"},
     {"benchmark": "sparse-point-robot", "decodes": "transition", "policy_trains_encoder": True}],
    ids=str,
)  # fmt: skip
def test_every_option_learns_and_counts(varibad, options):
    before, after, metrics, benchmark = stepped(varibad, **options)
    assert all_finite(after)
    assert all(moved(before.theta, after.theta))
    assert metrics["env_steps"] == 2 * 4 * 2 * benchmark.horizon
    assert metrics["grad_steps"] == 1 + 2 + 2
    # the ring holds the latest 6 of 8 trials, whole, without what the agent recorded
    assert after.kept.added[0] == 8 and after.kept.items.reward.shape == (
        1,
        6,
        2 * benchmark.horizon,
    )
    assert set(after.kept.items.extras) == {"live"}


def test_rewards_teach_the_encoder_through_the_decoder_only(varibad):
    """With no ELBO steps nothing moves encoder and decoder, unless the option lets the policy."""
    for option in (False, True):
        before, after, _, _ = stepped(varibad, vae_lr=0.0, policy_trains_encoder=option)
        assert all(moved(before.theta.policy, after.theta.policy))
        assert any(moved(before.theta.encoder, after.theta.encoder)) == option
        assert not any(moved(before.theta.decoder, after.theta.decoder))


def test_the_elbo_teaches_no_policy(varibad):
    before, after, _, _ = stepped(varibad, lr=0.0)
    assert not any(moved(before.theta.policy, after.theta.policy))
    assert all(moved(before.theta.encoder, after.theta.encoder))


def test_the_policy_acts_on_the_belief_and_the_agent_keeps_its_laws(varibad):
    learner, agent, benchmark = varibad.make(config(varibad))
    laws.learner_resumes_exactly(learner)
    theta = learner.init(jr.key(0)).theta
    laws.agent_preserves_structure(agent, benchmark, theta, shots=1, examples=1)


def test_the_first_policy_is_as_noisy_as_asked(varibad):
    cfg = config(varibad, benchmark="sparse-point-robot", decodes="reward", log_scale=-1.5)
    theta = varibad.make(cfg)[0].init(jr.key(0)).theta
    np.testing.assert_array_equal(theta.policy.policy.log_scale, -1.5)


@pytest.mark.parametrize("terms", [0, 5])
def test_steps_of_no_episode_are_not_explained_and_their_beliefs_are_not_asked(
    varibad, monkeypatch, terms
):
    """A decoder that ignores m leaves the same of a trial to every belief: that many times."""
    losses = []
    noted = lambda loss, adam, theta, state, keys: (losses.append(loss), (theta, state, {}))[1]
    monkeypatch.setattr(varibad, "gradient_steps", noted)
    cfg = config(varibad, benchmark="cartpole", decodes="reward", elbo_terms=terms, vae_batch=1)
    learner, agent, benchmark = varibad.make(cfg)
    theta = learner.init(jr.key(0)).theta
    made = new_trials(agent, benchmark, cfg, theta, jr.key(1))
    live, blank = made.extras["live"][:1], jax.tree.map(jnp.zeros_like, theta.decoder)
    assert 5 < live.sum() < live.size
    noise = jnp.where(live, made.reward[:1], jr.normal(jr.key(2), live.shape))
    one = eqx.tree_at(lambda rows: rows.reward, jax.tree.map(lambda leaf: leaf[:1], made), noise)
    monkeypatch.setattr(varibad, "draw_trials", lambda kept, num, key: one)
    _, parts = losses[0](theta._replace(decoder=blank), jr.key(3))
    expected = (live.sum() + 1) * 0.5 * (made.reward[:1][live] ** 2).sum()
    np.testing.assert_allclose(parts["reconstruction"], expected, rtol=1e-5)


@pytest.mark.parametrize("benchmark", ["gridworld", "cartpole"])
def test_the_recipe_unrolls_the_beliefs_that_it_acted_on(varibad, monkeypatch, benchmark):
    """Where the policy trains the encoder, its loss goes through the recipe's own beliefs."""
    caught = []
    spied = lambda cfg, heads, **rest: caught.append(heads) or ppo(cfg, heads, **rest)
    monkeypatch.setattr(varibad, "ppo", spied)
    cfg = config(
        varibad, benchmark=benchmark, decodes="reward", eval_mode="stochastic",
        policy_trains_encoder=True,
    )  # fmt: skip
    learner, agent, world = varibad.make(cfg)
    theta = learner.init(jr.key(0)).theta
    made = new_trials(agent, world, cfg, theta, jr.key(1))
    live = made.extras["live"]
    pi, value = jax.vmap(caught[0], (None, 0))(theta, made)
    told = jax.vmap(jax.vmap(lambda pi, action: pi.log_prob(action)))(pi, made.action)
    np.testing.assert_allclose(told[live], made.extras["log_prob"][live], atol=1e-4)
    np.testing.assert_allclose(value[live], made.extras["value"][live], atol=1e-4)


def test_beliefs_of_the_collector_are_those_of_the_unrolled_encoder(varibad):
    """What the policy saw while it acted is what the ELBO trains: q_0 ... q_{T-1}."""
    cfg = config(varibad, eval_mode="stochastic")
    learner, agent, benchmark = varibad.make(cfg)
    theta = learner.init(jr.key(0)).theta
    made = new_trials(agent, benchmark, cfg, theta, jr.key(1))

    def beliefs(trial):
        action = jax.nn.one_hot(trial.action, 5)
        rows = jnp.concatenate([action, trial.next_obs, trial.reward[:, None]], axis=1)
        return theta.encoder.unroll(rows)

    q = jax.vmap(beliefs)(made)
    assert jnp.allclose(q.mean[:, :-1], made.extras["belief"].mean, atol=1e-5)
    assert jnp.allclose(q.scale[:, :-1], made.extras["belief"].scale, rtol=1e-4)


def test_every_preset_can_be_made(varibad):
    for cfg in presets(varibad.Config, varibad.__file__).values():
        learner, _, _ = varibad.make(cfg)
        jax.eval_shape(learner.update, jax.eval_shape(learner.init, jr.key(0)), jr.key(0))


def test_its_beliefs_can_be_seen_beside_the_exact_ones(varibad, tmp_path):
    cfg = config(varibad, eval_episodes=2, eval_tasks=4)
    learner, agent, benchmark = varibad.make(cfg)
    theta = learner.init(jr.key(0)).theta
    shown = scenery.beliefs(agent, benchmark, cfg, theta, 0)
    assert shown.learned.shape == shown.exact.shape == (3, 2, 25)
    assert ((shown.learned > 0) & (shown.learned < 1)).all()
    assert abs(shown.exact.sum(axis=2) - 1).max() < 1e-5
    plot.beliefs(tmp_path / "beliefs.png", shown, scenery.marks(benchmark, cfg, 0).goals)
    assert (tmp_path / "beliefs.png").stat().st_size > 10_000
    _, agent, bandit = varibad.make(config(varibad, benchmark="bandit", decodes="arms"))
    assert scenery.beliefs(agent, bandit, cfg, None, 0) is None


@pytest.mark.parametrize(("benchmark", "decodes"), [("gridworld", "arms"), ("pendulum", "cells")])
def test_a_decoder_of_what_the_world_has_not_is_one_line(varibad, benchmark, decodes):
    with pytest.raises(ValueError, match=f"decodes is {decodes}, but {benchmark} has none"):
        varibad.make(config(varibad, benchmark=benchmark, decodes=decodes))


@pytest.mark.parametrize("decodes", ["reward", "transition"])
def test_beliefs_that_no_decoder_tells_are_not_drawn(varibad, decodes):
    _, agent, _ = varibad.make(config(varibad, decodes=decodes))
    assert agent.expects is None
