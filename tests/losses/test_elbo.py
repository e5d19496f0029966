"""The chain of KLs, and an ELBO that is exact where everything is."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest

from metablocks.dists import DiagNormal, standard_normal
from metablocks.encoders import RecurrentEncoder
from metablocks.envs.chain import unknown_task
from metablocks.losses import kl_chain, reconstruction_loss
from metablocks.nets import ArmDecoder, CellDecoder
from metablocks.oracles.belief import filtered
from metablocks.rollout import rollout
from metablocks.trees import gradient_steps, mean_and_sum
from metablocks.types import Agent, TimeStep, Transition


def chain(seed, num=4, dim=2):
    k_mean, k_scale = jr.split(jr.key(seed))
    return jax.vmap(DiagNormal)(
        jr.normal(k_mean, (num, dim)), jnp.exp(0.3 * jr.normal(k_scale, (num, dim)))
    )


def test_the_chain_is_the_kl_of_every_belief_to_the_one_before():
    q, prior = chain(0), standard_normal(2)
    laws = [prior, *(DiagNormal(m, s) for m, s in zip(q.mean, q.scale, strict=True))]
    expected = [laws[i + 1].kl(laws[i]).sum() for i in range(4)]
    np.testing.assert_allclose(kl_chain(q, prior), expected, rtol=1e-5)


def test_a_belief_that_does_not_move_costs_nothing():
    q = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), standard_normal(2))
    np.testing.assert_allclose(kl_chain(q, standard_normal(2)), 0.0, atol=1e-7)


def test_both_ends_of_a_link_get_the_gradient():
    q, prior = chain(1), standard_normal(2)
    slopes = jax.grad(lambda mean: kl_chain(jax.vmap(DiagNormal)(mean, q.scale), prior)[2])(q.mean)
    assert (slopes[2] != 0).all() and (slopes[1] != 0).all()
    np.testing.assert_array_equal(slopes[jnp.array([0, 3])], 0.0)


@pytest.mark.parametrize("terms", [None, 2])
def test_the_reconstruction_is_the_expected_loss_of_a_draw_of_every_belief(terms):
    q = chain(2)
    losses = jax.vmap(
        lambda key: reconstruction_loss(q, lambda z: 0.5 * jnp.sum(z**2), terms=terms, key=key)
    )(jr.split(jr.key(3), 20_000))
    expected = 0.5 * (q.mean**2 + q.scale**2).sum()
    assert float(losses.mean()) == pytest.approx(float(expected), rel=0.02)


def test_every_belief_has_a_draw_of_its_own():
    q = jax.tree.map(lambda leaf: jnp.stack([leaf] * 4), standard_normal(1))
    losses = jax.vmap(lambda key: reconstruction_loss(q, lambda z: z[0], key=key))(
        jr.split(jr.key(3), 20_000)
    )
    assert float(losses.var()) == pytest.approx(4.0, rel=0.05)  # one draw for all: 16


@pytest.mark.parametrize("terms", [None, 1, 2, 3])
def test_beliefs_that_repeat_the_one_before_are_not_asked_again(terms):
    """As when the trial had been cut where its episode ended; also with more terms than beliefs."""
    q = jax.tree.map(lambda leaf: leaf[jnp.array([0, 0, 1, 1, 1])], chain(2))
    where = jnp.array([True, False, True, False, False])
    losses = jax.vmap(
        lambda key: reconstruction_loss(
            q, lambda z: 0.5 * jnp.sum(z**2), terms=terms, where=where, key=key
        )
    )(jr.split(jr.key(3), 20_000))
    expected = 0.5 * (q.mean**2 + q.scale**2)[where].sum()
    assert float(losses.mean()) == pytest.approx(float(expected), rel=0.02)


def test_places_pay_or_not_by_their_own_heads():
    """The Bernoulli likelihood of every step, and over a trial that of counts of visits and pay."""
    z, cells = jnp.array([0.5, -1.0]), jr.randint(jr.key(1), (30,), 0, 5)
    places = jax.nn.one_hot(cells, 5)
    rewards = jnp.where(cells == 3, 1.0, -0.1)
    for decoder, obs, action in (
        (CellDecoder, places, places[:, :2]),
        (ArmDecoder, places, places),
    ):
        net = decoder(5, action.shape[1], z_size=2, hidden=(4,), key=jr.key(0))
        rows = transitions(obs, action, rewards)
        got = jax.vmap(net.loss, (0, None))(rows, z)
        probs = jax.nn.sigmoid(net(z)[cells])
        expected = -jnp.where(rewards > 0.5, jnp.log(probs), jnp.log1p(-probs))
        np.testing.assert_allclose(got, expected, rtol=1e-5)
        visits, hits = places.sum(axis=0), (rewards > 0.5).astype(jnp.float32) @ places
        by_place = hits * jax.nn.softplus(-net(z)) + (visits - hits) * jax.nn.softplus(net(z))
        assert float(got.sum()) == pytest.approx(float(by_place.sum()), rel=1e-5)


def transitions(next_obs, action, reward):
    """Rows of which only these three fields are asked."""

    def row(next_obs, action, reward):
        no = jnp.array(False)
        now = TimeStep(jnp.zeros_like(next_obs), jnp.zeros_like(action), jnp.zeros(()), no)
        return Transition(now, action, reward, next_obs, no, no, {})

    return jax.vmap(row)(next_obs, action, reward)


def test_a_learned_belief_comes_to_the_enumerated_one():
    """On the chain whose goal is unknown: from what was seen, where the goal may be."""
    world, optimiser = unknown_task(), optax.adam(5e-3)
    walker = Agent(
        lambda theta, key: (),
        lambda theta, phi, now, key: (jr.randint(key, (), 0, 2), {}, phi),
        lambda theta, phi, trajectories, key: phi,
    )

    def walks(key, num):
        k_tasks, k_walks = jr.split(key)
        tasks, keys = world.train(k_tasks, num), jr.split(k_walks, num)
        return jax.vmap(
            lambda task, key: rollout(
                walker, world.env, None, (), task, num_steps=world.horizon, key=key
            )[1]
        )(tasks, keys)

    def beliefs(encoder, trial):
        contexts = jnp.concatenate([trial.next_obs, trial.reward[:, None]], axis=1)
        return encoder.unroll(contexts)

    def losses(theta, trial, key):
        encoder, decoder = theta
        q = beliefs(encoder, trial)
        unexplained = reconstruction_loss(
            q, lambda z: jax.vmap(decoder.loss, (0, None))(trial, z).sum(), key=key
        )
        return {"unexplained": unexplained, "kl": 0.01 * kl_chain(q, standard_normal(2)).sum()}

    def loss(theta, key):
        keys = jr.split(key, 64)
        return mean_and_sum(jax.vmap(losses, (None, 0, 0))(theta, walks(key, 64), keys))

    theta = (
        RecurrentEncoder(4, 2, hidden=(16,), learned_prior=True, key=jr.key(0)),
        CellDecoder(3, 2, z_size=2, hidden=(16,), key=jr.key(1)),
    )
    learn = jax.jit(lambda t, s, keys: gradient_steps(loss, optimiser, t, s, keys)[0])
    encoder, decoder = learn(theta, optimiser.init(theta), jr.split(jr.key(2), 1500))

    def learned(trial):
        def decoded(q, key):
            return jax.vmap(lambda k: jax.nn.sigmoid(decoder(q.sample(k))))(jr.split(key, 200))

        q = beliefs(encoder, trial)
        return jax.vmap(decoded)(q, jr.split(jr.key(3), world.horizon + 1)).mean(axis=1)

    def enumerated(trial):
        def seen(belief, row):
            likely = jnp.where(row.reward > 0, row.next_obs, 1 - row.next_obs)
            belief = filtered(belief, jnp.eye(3), likely)
            return belief, belief

        prior = jnp.full(3, 1 / 3)
        return jnp.concatenate([prior[None], jax.lax.scan(seen, prior, trial)[1]])

    fresh = walks(jr.key(4), 100)
    error = jnp.abs(jax.jit(jax.vmap(learned))(fresh) - jax.vmap(enumerated)(fresh))
    assert error.mean() < 0.03
    assert error.mean(axis=(0, 1)).max() < 0.05
