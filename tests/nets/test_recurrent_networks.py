"""Unrolling equals stepping; the memory goes through episode ends; the GRU is the GRU."""

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks.nets import GRU, ActorCritic, AssociativeMemory, RecurrentActorCritic
from metablocks.types import TimeStep

T = 5


def timesteps(key, discrete):
    k_obs, k_action, k_reward = jr.split(key, 3)
    actions = jr.randint(k_action, (T,), 0, 3) if discrete else jr.normal(k_action, (T, 3))
    first = jnp.array([True, False, False, True, False])
    return jax.vmap(TimeStep)(jr.normal(k_obs, (T, 2)), actions, jr.normal(k_reward, (T,)), first)


def test_the_gru_is_its_equation():
    gru = GRU(2, 3, key=jr.key(0))
    gru = eqx.tree_at(lambda net: net.bias_n, gru, jnp.array([0.4, -0.7, 0.2]))
    h, x = jnp.array([0.1, -0.5, 0.9]), jnp.array([1.0, -2.0])
    w, b, u = np.asarray(gru.inputs.weight), np.asarray(gru.inputs.bias), np.asarray(gru.memory)

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    rows = [slice(0, 3), slice(3, 6), slice(6, 9)]
    wx, uh = [w[r] @ x + b[r] for r in rows], [u[r] @ h for r in rows]
    reset, keep = sigmoid(wx[0] + uh[0]), sigmoid(wx[1] + uh[1])
    new = np.tanh(wx[2] + reset * (uh[2] + np.asarray(gru.bias_n)))
    np.testing.assert_allclose(gru(h, x), (1 - keep) * new + keep * h, rtol=1e-5)


def test_a_masked_input_changes_nothing():
    gru = GRU(2, 3, key=jr.key(0))
    xs, mask = jr.normal(jr.key(1), (T, 2)), jnp.array([True, False, True, False, False])
    last, hs = gru.unroll(gru.init(), xs, mask)
    kept, _ = gru.unroll(gru.init(), xs[jnp.array([0, 2])])
    np.testing.assert_allclose(last, kept, rtol=1e-6)
    np.testing.assert_array_equal(hs[0], hs[1])


DEEP = {"embed": 5, "reader": 6, "transitions": True}


FAST = {"reader": 6, "transitions": True, "associative": 5}


@pytest.mark.parametrize(
    ("discrete", "layers"), [(True, {}), (False, {}), (True, DEEP), (True, FAST)]
)
def test_unrolling_equals_stepping(discrete, layers):
    net = RecurrentActorCritic(2, 3, discrete=discrete, width=4, **layers, key=jr.key(0))
    steps = timesteps(jr.key(1), discrete)
    last, (pis, values) = net.unroll(net.init(), steps)
    h = net.init()
    for t in range(T):
        h, (pi, value) = net.step(h, jax.tree.map(lambda leaf, t=t: leaf[t], steps))
        np.testing.assert_allclose(value, values[t], rtol=1e-5, atol=1e-6)
        there = jax.tree.map(lambda leaf, t=t: leaf[t], pis)
        chex.assert_trees_all_close(pi, there, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(h, last, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layers", [DEEP, FAST])
def test_masked_steps_are_as_if_they_were_not_there(layers):
    net = RecurrentActorCritic(2, 3, discrete=True, width=4, **layers, key=jr.key(0))
    steps, mask = timesteps(jr.key(1), True), jnp.array([True, False, True, True, False])
    last, (pis, _) = net.unroll(net.init(), steps, mask)
    short, (want, _) = net.unroll(net.init(), jax.tree.map(lambda leaf: leaf[mask], steps))
    chex.assert_trees_all_close(last, short, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(pis.logits[mask], want.logits, rtol=1e-4, atol=1e-6)


def test_phi_is_one_relu_layer_before_the_memory():
    net = RecurrentActorCritic(2, 3, discrete=True, width=4, embed=5, key=jr.key(0))
    now = jax.tree.map(lambda leaf: leaf[0], timesteps(jr.key(1), True))
    action = jax.nn.one_hot(now.prev_action, 3)
    x = jnp.concatenate([now.obs, action, now.prev_reward[None], jnp.ones(1)])
    phi = jnp.maximum(net.embed.weight @ x + net.embed.bias, 0.0)
    memory, _ = net.step(net.init(), now)
    np.testing.assert_allclose(memory.h, net.gru(net.init().h, phi), rtol=1e-5)


def test_with_transitions_the_memory_sees_the_last_observation_too():
    net = RecurrentActorCritic(2, 3, discrete=True, width=4, transitions=True, key=jr.key(0))
    then, now = (
        jax.tree.map(lambda leaf, t=t: leaf[t], timesteps(jr.key(1), True)) for t in (0, 1)
    )
    before, _ = net.step(net.init(), then)
    after, _ = net.step(before, now)
    action = jax.nn.one_hot(now.prev_action, 3)
    x = jnp.concatenate([then.obs, now.obs, action, now.prev_reward[None], jnp.zeros(1)])
    np.testing.assert_allclose(after.h, net.gru(before.h, x), rtol=1e-5)


def test_the_reader_is_one_relu_layer_on_the_memory_and_the_observation():
    net = RecurrentActorCritic(2, 3, discrete=True, width=4, reader=6, key=jr.key(0))
    now = jax.tree.map(lambda leaf: leaf[0], timesteps(jr.key(1), True))
    memory, (pi, value) = net.step(net.init(), now)
    x = jnp.concatenate([memory.h, now.obs])
    read = jnp.maximum(net.reader.weight @ x + net.reader.bias, 0.0)
    np.testing.assert_allclose(pi.logits, net.policy(read).logits, rtol=1e-5)
    np.testing.assert_allclose(value, net.value(read)[0], rtol=1e-5)


def test_memories_have_a_size():
    for made in (lambda key: GRU(2, 0, key=key), lambda key: AssociativeMemory(0, 3, 4, key=key)):
        with pytest.raises(ValueError, match="positive sizes"):
            made(jr.key(0))


def test_an_associative_memory_reads_the_sum_of_what_was_met_at_places_alike():
    memory = AssociativeMemory(2, 3, 4, key=jr.key(0))
    before, places, xs = (jr.normal(jr.key(i), (T, n)) for i, n in ((1, 2), (2, 2), (3, 3)))
    _, reads = memory.unroll(memory.init(), before, places, xs)
    values = np.maximum(xs @ memory.value.weight.T + memory.value.bias, 0.0)
    for t in range(T):
        alike = [(memory.key @ before[i]) @ (memory.key @ places[t]) for i in range(t + 1)]
        np.testing.assert_allclose(reads[t], np.array(alike) @ values[: t + 1], rtol=1e-4)


def test_an_associative_memory_goes_on_where_it_stopped():
    memory = AssociativeMemory(2, 3, 4, key=jr.key(0))
    rows = tuple(jr.normal(jr.key(i), (T, n)) for i, n in ((1, 2), (2, 2), (3, 3)))
    whole, reads = memory.unroll(memory.init(), *rows)
    half, _ = memory.unroll(memory.init(), *(row[:2] for row in rows))
    rest, later = memory.unroll(half, *(row[2:] for row in rows))
    np.testing.assert_allclose(rest, whole, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(later, reads[2:], rtol=1e-4, atol=1e-5)


def test_an_associative_memory_needs_transitions_and_a_reader():
    with pytest.raises(ValueError, match="associative is 4"):
        RecurrentActorCritic(2, 3, discrete=True, width=4, associative=4, key=jr.key(0))


def test_the_memory_goes_through_an_episode_s_end():
    net = RecurrentActorCritic(2, 3, discrete=True, width=4, key=jr.key(0))
    steps = timesteps(jr.key(1), True)

    def last_value(first_obs):
        changed = jax.vmap(TimeStep)(
            steps.obs.at[0].set(first_obs), steps.prev_action, steps.prev_reward, steps.first
        )
        return net.unroll(net.init(), changed)[1][1][-1]

    assert (jax.grad(last_value)(steps.obs[0]) != 0).all()  # step 3 starts a new episode


@pytest.mark.parametrize("discrete", [True, False])
def test_at_first_the_policy_prefers_hardly_anything(discrete):
    net = ActorCritic(4, 3, discrete=discrete, hidden=(8,), key=jr.key(0))
    pi, value = jax.vmap(net)(10.0 * jr.normal(jr.key(1), (20, 4)))
    assert value.shape == (20,)
    preferred = pi.logits if discrete else pi.mean
    assert float(jnp.abs(preferred).max()) < 0.5
    assert 0.0 < float(jnp.ptp(preferred, axis=0).max()) < 0.05  # the same for all states


def test_log_scale_is_the_log_of_sigma_at_first():
    key, log_scale = jr.key(0), -1.5
    feedforward = ActorCritic(4, 3, discrete=False, hidden=(8,), log_scale=log_scale, key=key)
    recurrent = RecurrentActorCritic(2, 3, discrete=False, width=4, log_scale=log_scale, key=key)
    policies = feedforward(jnp.ones(4))[0], recurrent.policy(jnp.ones(4))
    for pi in policies:
        np.testing.assert_allclose(pi.scale, np.exp(log_scale), rtol=1e-6)
    least = ActorCritic(4, 3, discrete=False, hidden=(8,), log_scale=-200.0, key=key)
    assert (least(jnp.ones(4))[0].scale > 0.9e-6).all()
    with pytest.raises(ValueError, match="discrete actions have none"):
        RecurrentActorCritic(2, 3, discrete=True, width=4, log_scale=log_scale, key=key)
