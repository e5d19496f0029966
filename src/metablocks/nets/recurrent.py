"""Networks with a memory: one step at a time, or over a whole trial at once."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Bool, Float

from metablocks.nets.actor_critic import Head
from metablocks.nets.associative import AssociativeMemory
from metablocks.nets.features import step_features
from metablocks.types import Key, TimeStep

Gates = tuple[Float[Array, " h"], Float[Array, " h"], Float[Array, " h"]]


class GRU(eqx.Module):
    """A gated recurrent unit.

        r, u = sigmoid(W_r x + U_r h + b_r), sigmoid(W_u x + U_u h + b_u)
        n = tanh(W_n x + b_n + r * (U_n h + c_n))
        h' = (1 - u) * n + u * h

    Cho et al. 2014, https://arxiv.org/abs/1406.1078, with the reset gate after the product.
    Unrolling equals stepping, and is faster: what the gates make of the inputs does not wait for h.

    Raises:
        ValueError: a size is not positive.
    """

    inputs: eqx.nn.Linear
    memory: Float[Array, "gates h"]
    bias_n: Float[Array, " h"]

    def __init__(self, in_size: int, size: int, *, key: Key):
        if min(in_size, size) < 1:
            raise ValueError(f"a memory needs positive sizes, got {in_size} and {size}")
        k_inputs, k_memory = jr.split(key)
        self.inputs = eqx.nn.Linear(in_size, 3 * size, key=k_inputs)
        self.memory = jnp.concatenate(
            [jax.nn.initializers.orthogonal()(k, (size, size)) for k in jr.split(k_memory, 3)]
        )
        self.bias_n = jnp.zeros(size)

    def init(self) -> Float[Array, " h"]:
        """The memory of nothing: zeros."""
        return jnp.zeros_like(self.bias_n)

    def __call__(self, h: Float[Array, " h"], x: Float[Array, " x"]) -> Float[Array, " h"]:
        return self._gated(h, self._read(x))

    def unroll(
        self, h: Float[Array, " h"], xs: Float[Array, "T x"], mask: Bool[Array, " T"] | None = None
    ) -> tuple[Float[Array, " h"], Float[Array, "T h"]]:
        """The last memory, and the memory after every input; a masked one changes nothing."""
        mask = jnp.ones(len(xs), bool) if mask is None else mask

        def step(h, row):
            gates, keep = row
            h = jnp.where(keep, self._gated(h, gates), h)
            return h, h

        return jax.lax.scan(step, h, (jax.vmap(self._read)(xs), mask))

    def _read(self, x: Float[Array, " x"]) -> Gates:
        # three arrays: XLA does not vectorise a step that slices its input (on a CPU 4 x slower)
        x_r, x_u, x_n = jnp.split(self.inputs(x), 3)
        return x_r, x_u, x_n

    def _gated(self, h: Float[Array, " h"], gates: Gates) -> Float[Array, " h"]:
        x_r, x_u, x_n = gates
        h_r, h_u, h_n = jnp.split(self.memory @ h, 3)
        r, u = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_u + h_u)
        return (1.0 - u) * jnp.tanh(x_n + r * (h_n + self.bias_n)) + u * h


class Memory(NamedTuple):
    """What a recurrent agent remembers: its hidden state, the last observation, fast weights."""

    h: Float[Array, " h"]
    obs: Float[Array, " s"]
    associations: Float[Array, "m m"]


class RecurrentActorCritic(eqx.Module):
    """pi(a | h_t) and V(h_t), where h_t = GRU(h_{t-1}, phi(s_t, a_{t-1}, r_{t-1}, first_t)).

    The memory is reset between trials only, which is up to the caller: `init` is the memory of a
    new task. Policy and value share it, where the paper has a network for each. Duan et al. 2016,
    sections 2.2 and 2.3, https://arxiv.org/abs/1611.02779.

    Args:
        obs_size: length of the observation.
        num_actions: how many actions there are, or the length of a real action.
        discrete: which of the two.
        width: units of the memory.
        embed: units of phi = relu(W x + b); 0 for phi(x) = x.
        reader: units of a relu layer between (h_t, s_t) and the heads; 0 for heads on h_t itself.
        transitions: whether phi sees s_{t-1} too, and with it the whole last transition; where
            an episode starts, s_t is not where it led, which `first` tells.
        associative: size of an `AssociativeMemory` of transitions by their states, whose reading
            the reader gets too; 0 for none.
        log_scale: log sigma of a real action at first.

    Raises:
        ValueError: an associative memory without a reader, or without transitions; discrete
            actions are given a log sigma.
    """

    embed: eqx.nn.Linear | None
    gru: GRU
    associations: AssociativeMemory | None
    reader: eqx.nn.Linear | None
    policy: Head
    value: eqx.nn.Linear
    obs_size: int = eqx.field(static=True)
    num_actions: int = eqx.field(static=True)
    discrete: bool = eqx.field(static=True)
    transitions: bool = eqx.field(static=True)

    def __init__(
        self,
        obs_size: int,
        num_actions: int,
        *,
        discrete: bool,
        width: int,
        embed: int = 0,
        reader: int = 0,
        transitions: bool = False,
        associative: int = 0,
        log_scale: float = 0.0,
        key: Key,
    ):
        if associative and not (reader and transitions):
            raise ValueError(
                f"associative is {associative}, which needs a reader and transitions to keep: "
                f"give both, got reader {reader} and transitions {transitions}"
            )
        k_embed, k_gru, k_reader, k_policy, k_value, k_associations = jr.split(key, 6)
        in_size = obs_size * (1 + transitions) + num_actions + 2
        self.embed = eqx.nn.Linear(in_size, embed, key=k_embed) if embed else None
        self.gru = GRU(embed or in_size, width, key=k_gru)
        read = width + obs_size + associative
        self.reader = eqx.nn.Linear(read, reader, key=k_reader) if reader else None
        self.associations = (
            AssociativeMemory(obs_size, in_size, associative, key=k_associations)
            if associative
            else None
        )
        self.policy = Head(
            reader or width, num_actions, discrete=discrete, log_scale=log_scale, key=k_policy
        )
        self.value = eqx.nn.Linear(reader or width, 1, key=k_value)
        self.obs_size, self.num_actions, self.discrete = obs_size, num_actions, discrete
        self.transitions = transitions

    def init(self) -> Memory:
        """The memory of a new task."""
        fast = jnp.zeros((0, 0)) if self.associations is None else self.associations.init()
        return Memory(self.gru.init(), jnp.zeros(self.obs_size), fast)

    def step(self, memory: Memory, timestep: TimeStep) -> tuple[Memory, tuple[Any, Array]]:
        """The memory after this step, and (pi, V) at it."""
        obs, fast, known = timestep.obs, memory.associations, jnp.zeros(0)
        x = self._features(memory.obs, timestep)
        h = self.gru(memory.h, self._embedded(x))
        if self.associations is not None:
            fast, known = self.associations(fast, memory.obs, obs, x)
        return Memory(h, obs, fast), self._heads(h, obs, known)

    def unroll(
        self, memory: Memory, timesteps: TimeStep, mask: Bool[Array, " T"] | None = None
    ) -> tuple[Memory, tuple[Any, Float[Array, " T"]]]:
        """The same over steps [T]: the last memory, and (pi, V) at every step.

        A masked step changes no memory, and (pi, V) at it are of no use.
        """
        obs, fast = timesteps.obs, memory.associations
        known, seen = jnp.zeros((len(obs), 0)), jnp.concatenate([memory.obs[None], obs])
        mask = jnp.ones(len(obs), bool) if mask is None else mask
        latest = jax.lax.cummax(jnp.where(mask, 1 + jnp.arange(len(obs)), 0))
        before = seen[jnp.append(0, latest[:-1])]  # the last observation that was not masked
        xs = jax.vmap(self._features)(before, timesteps)
        h, hs = self.gru.unroll(memory.h, jax.vmap(self._embedded)(xs), mask)
        if self.associations is not None:
            written = jnp.where(mask[:, None], before, 0.0)
            fast, known = self.associations.unroll(fast, written, obs, xs)
        return Memory(h, seen[latest[-1]], fast), jax.vmap(self._heads)(hs, obs, known)

    def _features(self, before: Array, timestep: TimeStep) -> Float[Array, " features"]:
        x = step_features(timestep, self.num_actions, discrete=self.discrete)
        return jnp.concatenate([before, x]) if self.transitions else x

    def _embedded(self, x: Float[Array, " features"]) -> Float[Array, " x"]:
        return x if self.embed is None else jax.nn.relu(self.embed(x))

    def _heads(
        self, h: Float[Array, " h"], obs: Array, known: Array
    ) -> tuple[Any, Float[Array, ""]]:
        if self.reader is not None:
            h = jax.nn.relu(self.reader(jnp.concatenate([h, obs, known])))
        return self.policy(h), self.value(h)[0]
