"""Networks are pytrees of arrays, and compute what their docstrings say."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks.nets.critics import TwinCritic
from metablocks.nets.decoders import CellDecoder, RewardDecoder, TransitionDecoder
from metablocks.nets.mlp import MLP
from metablocks.nets.policies import LOG_SCALE_MAX, LOG_SCALE_MIN, TanhNormalPolicy
from metablocks.types import TimeStep, Transition

OBS, ACTION, Z = jnp.arange(3.0), jnp.array([0.5, -0.5]), jnp.array([1.0])
SIZES = {"z_size": 1, "hidden": (4,), "key": jr.key(0)}
NETS = {
    "mlp": (MLP(3, 2, (4,), key=jr.key(0)), lambda net: net(OBS)),
    "policy": (TanhNormalPolicy(3, 2, **SIZES), lambda net: net(OBS, Z).mean),
    "critic": (TwinCritic(3, 2, **SIZES), lambda net: net(OBS, ACTION, Z)),
    "decoder": (TransitionDecoder(3, 2, **SIZES), lambda net: net(OBS, ACTION, Z)[1]),
}


@pytest.mark.parametrize("name", NETS)
def test_plain_grad_and_scan_work_on_networks(name):
    net, run = NETS[name]
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(net))

    def descend(net, _):
        grads = jax.grad(lambda net: jnp.sum(run(net) ** 2))(net)
        return jax.tree.map(lambda p, g: p - 1e-2 * g, net, grads), jnp.sum(run(net) ** 2)

    _, losses = jax.jit(lambda net: jax.lax.scan(descend, net, length=3))(net)
    assert losses[-1] < losses[0]


def test_mlp_is_affine_maps_with_relu_between():
    net = NETS["mlp"][0]
    first, last = net.layers
    hidden = np.maximum(first.weight @ OBS + first.bias, 0.0)
    np.testing.assert_allclose(net(OBS), last.weight @ hidden + last.bias, rtol=1e-5)
    with pytest.raises(ValueError, match="positive width"):
        MLP(3, 2, (0,), key=jr.key(0))
    with pytest.raises(ValueError, match=r"reads 3 numbers, got shape \(5,\)"):
        MLP(3, 2, (4,), key=jr.key(0))(jnp.zeros(5))


def test_twin_critics_are_independent():
    net = NETS["critic"][0]
    q = net(OBS, ACTION, Z)
    assert q.shape == (2,) and q[0] != q[1]
    for i in range(2):
        grads = jax.grad(lambda net, i=i: net(OBS, ACTION, Z)[i])(net)
        own, twin = grads.mlps[i], grads.mlps[1 - i]
        assert any((leaf != 0).any() for leaf in jax.tree.leaves(own))
        assert all((leaf == 0).all() for leaf in jax.tree.leaves(twin))


def test_every_input_reaches_the_output():
    critic, policy = NETS["critic"][0], NETS["policy"][0]
    assert all((g != 0).all() for g in jax.jacobian(critic, argnums=(0, 1, 2))(OBS, ACTION, Z))
    means = jax.jacobian(lambda obs, z: policy(obs, z).mean, argnums=(0, 1))(OBS, Z)
    assert all((g != 0).any() for g in means)


def test_policy_scale_stays_between_its_bounds():
    policy = NETS["policy"][0]
    for factor, bound in ((1e6, LOG_SCALE_MAX), (-1e6, LOG_SCALE_MIN)):
        scale = jax.tree.map(lambda leaf, f=factor: f * jnp.abs(leaf), policy)(OBS, Z).scale
        np.testing.assert_allclose(jnp.log(scale), bound, rtol=1e-5)


def test_decoder_predicts_a_change_of_the_observation():
    net = NETS["decoder"][0]
    silent = jax.tree.map(jnp.zeros_like, net)
    reward, obs = silent(OBS, ACTION, Z)
    assert reward == 0
    np.testing.assert_array_equal(obs, OBS)


def test_the_transition_decoder_s_loss_is_half_the_squared_errors():
    net = NETS["decoder"][0]
    timestep = TimeStep(OBS, jnp.zeros(2), jnp.zeros(()), jnp.array(True))
    row = Transition(
        timestep, ACTION, jnp.float32(3.0), OBS + 0.5, jnp.array(False), jnp.array(False), {}
    )
    reward, next_obs = net(OBS, ACTION, Z)
    expected = 0.5 * (float(reward) - 3.0) ** 2 + 0.5 * np.sum((next_obs - (OBS + 0.5)) ** 2)
    assert float(net.loss(row, Z)) == pytest.approx(float(expected), rel=1e-5)


def row_at(place, action, reward):
    now = TimeStep(place, action, jnp.zeros(()), jnp.array(False))
    no = jnp.array(False)
    return Transition(now, action, jnp.array(reward), place, no, no, {})


def test_what_a_decoder_says_that_places_pay_is_what_its_loss_asks_for():
    """The reward decoder's loss is half the squared error to it; the cells' is minus its log."""
    places = jnp.array([[0.0, 1.0, 2.0], [0.5, -1.0, 0.0]])
    net = RewardDecoder(3, 2, **SIZES)
    for place, paid in zip(places, net.pays(places, Z), strict=True):
        loss = net.loss(row_at(place, jnp.zeros(2), 0.7), Z)
        np.testing.assert_allclose(loss, 0.5 * (paid - 0.7) ** 2, rtol=1e-5)
    cells = CellDecoder(3, 2, **SIZES)
    for cell, paid in zip(jnp.eye(3), cells.pays(jnp.zeros((3, 2)), Z), strict=True):
        hit = cells.loss(row_at(cell, jnp.zeros(2), 1.0), Z)
        miss = cells.loss(row_at(cell, jnp.zeros(2), -0.1), Z)
        np.testing.assert_allclose([hit, miss], [-jnp.log(paid), -jnp.log1p(-paid)], rtol=1e-4)
