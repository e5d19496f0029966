"""PEARL: off-policy meta-RL by posterior sampling over a latent task variable.

Rakelly, Zhou, Quillen, Finn, Levine 2019, https://arxiv.org/abs/1903.08254.

    phi = (q, z):    q(z | c) = N(z; 0, I) prod_n N(z; mu(c_n), sigma^2(c_n)),    z ~ q     (2)

    min over the encoder and Q:   E_T E_{z ~ q(z | c)} [ (Q(s, a, z) - sg[r + gamma V(s', z)])^2 ]
                                  + beta KL( q(z | c) || N(0, I) )                          (1, 3)
    min over the policy:          E_T E_{z ~ q(z | c)} [ alpha log pi(a | s, sg z) - Q(s, a, sg z) ]

The encoder learns from the critic and the KL only. The context c is drawn from recent data, the
batch (s, a, r, s') from all data.
"""

import dataclasses
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import optax

from metablocks import replay
from metablocks.dists import standard_normal
from metablocks.encoders.product import ProductEncoder
from metablocks.encoders.recurrent import RecurrentEncoder
from metablocks.envs.half_cheetah import cheetah_direction, cheetah_velocity
from metablocks.envs.point_goal import dense_square, sparse_semicircle
from metablocks.evaluate import trial
from metablocks.experiment import main
from metablocks.exploration.posterior_sampling import Belief, posterior_sampling
from metablocks.losses.bottleneck import bottleneck_loss
