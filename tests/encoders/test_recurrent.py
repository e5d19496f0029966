"""The recurrent encoder is a GRU over the rows, in their order."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from metablocks.encoders.recurrent import RecurrentEncoder

ENCODER = RecurrentEncoder(3, 2, hidden=(5, 4), key=jr.key(0))
CONTEXT = jr.normal(jr.key(1), (4, 3))


def test_memory_equals_a_loop_over_kept_rows():
    mask = jnp.array([True, False, True, True])
    h = jnp.zeros(4)
    (embed,) = ENCODER.embed
    for c, keep in zip(CONTEXT, mask, strict=True):
        row = np.maximum(embed(c), 0.0)
        h = ENCODER.gru(h, jnp.asarray(row)) if keep else h
    np.testing.assert_allclose(ENCODER.update(ENCODER.init(), CONTEXT, mask), h, rtol=1e-5)
    mean, log_scale = np.split(ENCODER.head.weight @ h, 2)
    q = ENCODER.posterior(h)
    np.testing.assert_allclose(q.mean, mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(q.scale, np.exp(log_scale), rtol=1e-4)


def test_plain_grad_works_through_the_scan():
    def loss(encoder):
        memory = encoder.update(encoder.init(), CONTEXT, jnp.ones(4, bool))
        return (encoder.posterior(memory).mean ** 2).sum()

    grads = jax.grad(loss)(ENCODER)
    assert (grads.gru.memory != 0).any() and (grads.head.weight[:2] != 0).any()
