"""Our own blocks obey the laws, and every law catches a block that breaks it."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import optax
import pytest
from flax import struct
from gymnax.environments.misc.point_robot import PointRobot

from metablocks import laws
from metablocks.adapters import (
    AdaptationConfig,
    gradient_adapter,
    meta_policy,
    policy_gradient_adapter,
    policy_gradient_agent,
    with_advantages,
)
from metablocks.dists import DiagNormal
from metablocks.encoders.product import ProductEncoder
from metablocks.encoders.recurrent import RecurrentEncoder
from metablocks.envs.gymnax_tasks import from_params, pendulum
from metablocks.envs.physics import Physics, PhysicsState, make_physics
from metablocks.envs.point_goal import (
    PointGoalEnv,
    PointState,
    dense_square,
    navigation,
    sparse_semicircle,
)
from metablocks.exploration.held_action import held_action
from metablocks.exploration.posterior_sampling import posterior_sampling
from metablocks.losses import likelihood_ratio_loss
from metablocks.nets.policies import TanhNormalPolicy
from metablocks.rollout import rollout
from metablocks.trees import descend, take
from metablocks.types import Agent, Learner

C, Z = 5, 2


def product_encoder(cls=ProductEncoder):
    return cls(C, Z, hidden=(8,), key=jr.key(0))


def recurrent_encoder(cls=RecurrentEncoder):
    return cls(C, Z, hidden=(8,), key=jr.key(0))


def breaks(law, *args, says, **options):
    """The law raises, and its message names the law, the inputs and the two sides."""
    with pytest.raises(AssertionError) as error:
        law(*args, **options)
    message = str(error.value)
    assert message.startswith("violated: ") and "at " in message
    for part in (says,) if isinstance(says, str) else says:
        assert part in message, message


# --- adapters -----------------------------------------------------------------------------------


def slope_adapter(**options):
    def loss(theta, params, data):
        return jnp.sum(jnp.sin(params * data)) + theta["pull"] @ params**2

    return gradient_adapter(loss, lambda theta, step: theta["alpha"], **options)


ADAPTING = (
    {"pull": jnp.array([0.5, -0.3]), "start": jnp.array([1.0, -2.0]), "alpha": jnp.array(0.3)},
    lambda theta: theta["start"],
    lambda key: jr.normal(key, (2,)),
)


@pytest.mark.parametrize("options", [{}, {"rematerialise": True}])
def test_gradient_adapters_keep_their_laws(options):
    laws.adapter_unroll_equals_steps(slope_adapter(**options), *ADAPTING)
    laws.adapter_gradient_is_exact(slope_adapter(**options), *ADAPTING)


def test_policy_gradient_adapters_keep_their_laws():
    cfg = AdaptationConfig(width=3, step_sizes="meta-sgd")
    adapter = policy_gradient_adapter(cfg, jax.vmap(likelihood_ratio_loss))
    theta = meta_policy(cfg, 2, 2, jr.key(0))
    agent, world = policy_gradient_agent(cfg, adapter), navigation(horizon=4)
    task = take(world.train(jr.key(1), 1), jnp.array(0))

    def data(key):
        phi = agent.prior(theta, key)
        shots = jax.vmap(
            lambda key: rollout(agent, world.env, theta, phi, task, num_steps=4, key=key)[1]
        )
        return with_advantages(shots(jr.split(key, 3)), cfg)

    laws.adapter_unroll_equals_steps(adapter, theta, lambda theta: theta.policy, data)
    laws.adapter_gradient_is_exact(adapter, theta, lambda theta: theta.policy, data)


def test_adapters_that_break_a_law_are_caught():
    first = slope_adapter(first_order=True)
    breaks(laws.adapter_gradient_is_exact, first, *ADAPTING, says="finite differences")
    forgetful = slope_adapter()
    unroll = lambda theta, phi, data: forgetful.unroll(theta, phi, data[::-1])
    breaks(
        laws.adapter_unroll_equals_steps, forgetful._replace(unroll=unroll), *ADAPTING,
        says=("unroll = step", "right"),
    )  # fmt: skip


# --- encoders -----------------------------------------------------------------------------------


class IgnoresMask(ProductEncoder):
    def update(self, memory, context, mask):
        return super().update(memory, context, jnp.ones_like(mask))


class Forgets(ProductEncoder):
    """Starts from the prior at every update."""

    def update(self, memory, context, mask):
        return super().update(self.init(), context, mask)


class CertainOfNothing(ProductEncoder):
    def posterior(self, memory):
        q = super().posterior(memory)
        return DiagNormal(q.mean, 0.9 * q.scale)


ENCODER_LAWS = (
    laws.encoder_is_permutation_invariant,
    laws.encoder_running_equals_batch,
    laws.encoder_ignores_masked_rows,
    laws.encoder_without_data_is_the_prior,
)


@pytest.mark.parametrize("law", ENCODER_LAWS)
def test_product_encoder_obeys(law):
    law(product_encoder(), C)


@pytest.mark.parametrize("law", ENCODER_LAWS[1:])
def test_recurrent_encoder_obeys(law):
    law(recurrent_encoder(), C)


def test_a_memory_is_not_permutation_invariant():
    breaks(
        laws.encoder_is_permutation_invariant,
        recurrent_encoder(),
        C,
        says=("q(z | permuted c)", "seed = 0", "order = ", ".mean: left", ".mean: right"),
    )


def test_encoder_laws_catch_broken_encoders():
    update = "update(update(m, a), b) = update(m, a ++ b)"
    breaks(laws.encoder_running_equals_batch, product_encoder(Forgets), C, says=(update, "cut ="))
    masked = ("does not read masked rows", "garbage =", "mask =")
    breaks(laws.encoder_ignores_masked_rows, product_encoder(IgnoresMask), C, says=masked)
    prior = laws.encoder_without_data_is_the_prior
    breaks(prior, product_encoder(CertainOfNothing), C, says="posterior(init()) = N(0, I)")
    breaks(prior, product_encoder(IgnoresMask), C, says="update(init(), c, none)")


# --- distributions ------------------------------------------------------------------------------


def diag_normal(key, cls=DiagNormal):
    k_mean, k_scale = jr.split(key)
    return cls(jr.normal(k_mean, (Z,)), jnp.exp(0.5 * jr.normal(k_scale, (Z,))))


class ForgetsMeans(DiagNormal):
    def kl(self, other):
        return DiagNormal(other.mean, self.scale).kl(other)


class Reversed(DiagNormal):
    def kl(self, other):
        return DiagNormal.kl(other, self)


class Negative(DiagNormal):
    def kl(self, other):
        return super().kl(other) - 0.2


class Signed(DiagNormal):
    def kl(self, other):
        return jnp.log(other.scale / self.scale) + (self.mean - other.mean) ** 2


def test_diag_normal_obeys():
    laws.kl_is_a_divergence(diag_normal)
    laws.kl_equals_monte_carlo(diag_normal)


def test_kl_laws_catch_broken_divergences():
    divergence, monte_carlo = laws.kl_is_a_divergence, laws.kl_equals_monte_carlo
    breaks(divergence, lambda key: diag_normal(key, Negative), says=("KL(p || p) = 0", "KL = "))
    breaks(divergence, lambda key: diag_normal(key, Signed), says=("KL(p || q)_i >= 0", "q = "))
    ignored = ("KL(p || q) > 0 where p != q", "changed = .mean")
    breaks(divergence, lambda key: diag_normal(key, ForgetsMeans), says=ignored)
    breaks(monte_carlo, lambda key: diag_normal(key, Reversed), says=("E_p[log p - log q]", "+-"))


# --- agents -------------------------------------------------------------------------------------


def pearl_agent():
    policy = TanhNormalPolicy(2, 2, z_size=Z, hidden=(8,), key=jr.key(1))
    theta = {"encoder": product_encoder(), "policy": policy}

    def act(theta, z, timestep, key):
        action, log_prob = theta["policy"](timestep.obs, z).sample_and_log_prob(key)
        return action, {"log_prob": log_prob}

    def context(step):
        return jnp.concatenate([step.timestep.obs, step.action, step.reward[None]])

    return posterior_sampling(lambda theta: theta["encoder"], context, act), theta


def memory_agent(*, act=None, adapt=None):
    """phi is a running mean of rewards; it stays where it is."""

    def folds(theta, phi, timestep, key):
        return jnp.zeros(2), {}, 0.9 * phi + timestep.prev_reward

    return Agent(
        prior=lambda theta, key: jnp.zeros(3),
        act=act or folds,
        adapt=adapt or (lambda theta, phi, trajectories, key: phi),
    )


def test_agents_obey():
    benchmark = sparse_semicircle(horizon=5)
    laws.agent_preserves_structure(pearl_agent()[0], benchmark, pearl_agent()[1])
    laws.agent_preserves_structure(memory_agent(), benchmark, None)
    laws.agent_preserves_structure(held_action(2, noise=0.5), benchmark, None)


BROKEN_AGENTS = {
    "act keeps the structure": memory_agent(
        act=lambda theta, phi, timestep, key: (jnp.zeros(2), {}, phi.astype(jnp.bfloat16))
    ),
    "adapt keeps the structure": memory_agent(
        adapt=lambda theta, phi, trajectories, key: trajectories.reward.reshape(-1)
    ),
    "a has the shape and dtype": memory_agent(
        act=lambda theta, phi, timestep, key: (jnp.zeros(3), {}, phi)
    ),
    "a in A": memory_agent(
        act=lambda theta, phi, timestep, key: (1.5 * jr.normal(key, (2,)), {}, phi)
    ),
}


@pytest.mark.parametrize("says", BROKEN_AGENTS)
def test_agent_law_catches(says):
    benchmark = sparse_semicircle(horizon=5)
    breaks(laws.agent_preserves_structure, BROKEN_AGENTS[says], benchmark, None, says=says)


# --- learners -----------------------------------------------------------------------------------


class State(NamedTuple):
    theta: Any
    opt_state: Any
    count: Any


OPTIMISER = optax.adam(1e-2)


def learner(*, target=lambda state, key: jnp.ones(3), count=lambda count: count + 1, start=0):
    """Regress theta on a target."""

    def init(key):
        theta = jr.normal(key, (3,))
        return State(theta, OPTIMISER.init(theta), jnp.int32(start))

    def update(state, key):
        def loss(theta):
            return ((theta - target(state, key)) ** 2).mean()

        value, grads = jax.value_and_grad(loss)(state.theta)
        theta, opt_state = descend(OPTIMISER, state.theta, state.opt_state, grads)
        return State(theta, opt_state, count(state.count)), {"loss": value}

    return Learner(init, update)


LEARNER_LAWS = (
    laws.learner_scan_equals_loop,
    laws.learner_vmap_equals_separate,
    laws.learner_resumes_exactly,
    laws.learner_is_traced_once,
)


@pytest.mark.parametrize("law", LEARNER_LAWS)
def test_learner_obeys(law):
    law(learner(target=lambda state, key: jr.normal(key, (3,))))


def global_generator():
    """A target out of a generator that is not an argument: drawn when traced, not when run."""
    generator = np.random.default_rng(0)
    return learner(target=lambda state, key: jnp.asarray(generator.normal(size=3), jnp.float32))


def mixes_seeds():
    """A callback that centres its whole batch."""

    def target(state, key):
        host = jax.pure_callback(
            lambda x: np.asarray(x) - np.asarray(x).mean(),
            jax.ShapeDtypeStruct((3,), jnp.float32),
            jax.lax.stop_gradient(state.theta),
            vmap_method="broadcast_all",
        )
        return host

    return learner(target=target)


def host_state():
    """A callback that remembers how often it was called."""
    calls = []

    def host(x):
        calls.append(1)
        return np.full(3, len(calls), np.float32)

    def target(state, key):
        result = jax.ShapeDtypeStruct((3,), jnp.float32)
        return jax.pure_callback(host, result, state.count, vmap_method="sequential")

    return learner(target=target)


def keeps_key():
    inner = learner()

    def init(key):
        return inner.init(key)._replace(count=key)

    def update(state, key):
        after, metrics = inner.update(state._replace(count=jnp.int32(0)), key)
        return after._replace(count=state.count), metrics

    return Learner(init, update)


def weak_count():
    """The counter starts as a Python number, whose type is weak, and becomes an int32."""
    inner = learner()
    return Learner(
        lambda key: inner.init(key)._replace(count=0),
        lambda state, key: (lambda s, m: (s._replace(count=s.count + jnp.int32(1)), m))(
            *inner.update(state, key)
        ),
    )


def test_learner_laws_catch_broken_learners():
    breaks(laws.learner_scan_equals_loop, global_generator(), says=("loop of update", "loss"))
    widens = learner(count=lambda count: count + 0.5)
    breaks(laws.learner_scan_equals_loop, widens, says=("structure", ".count: left int32[]"))
    breaks(laws.learner_vmap_equals_separate, mixes_seeds(), says=("run(keys_i)", "seed = 0"))
    breaks(laws.learner_resumes_exactly, host_state(), says=("resumed = uninterrupted", ".theta"))
    breaks(laws.learner_resumes_exactly, keeps_key(), says=("no PRNG key", ".count is a key<"))
    breaks(laws.learner_is_traced_once, weak_count(), says=("traced once", "trace 1"))


# --- tasks --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "benchmark",
    [sparse_semicircle(), dense_square(horizon=5), navigation(horizon=5), pendulum(horizon=5)],
    ids=["sparse", "dense", "navigation", "pendulum"],
)
def test_benchmarks_obey(benchmark):
    laws.task_is_constant_across_resets(benchmark)


@pytest.mark.parametrize("dense", [True, False])
def test_task_law_catches_gymnax_point_robot(dense):
    """Its goal is drawn in reset; no reward of the sparse one is ever seen by random actions."""
    env = PointRobot()
    params = jax.tree.map(jnp.asarray, env.default_params).replace(dense_reward=jnp.array(dense))
    benchmark = from_params(
        env, lambda key: params, horizon=6, descriptor=lambda task: task.circle_radius[None]
    )
    says = ("state.goal is constant", "it decides", "['reward']", "episode at step 6")
    breaks(laws.task_is_constant_across_resets, benchmark, says=says)


@struct.dataclass
class Remembering:
    position: Any
    time: Any
    both: Any


class KeepsGoalInState(PointGoalEnv):
    """Rewards for a goal that reset copied from the task into the state."""

    def reset_env(self, key, params):
        obs, state = super().reset_env(key, params)
        return obs, Remembering(state.position, state.time, jnp.append(params.goal, 0.0))

    def step_env(self, key, state, action, params):
        inner = PointState(state.position, state.time)
        params = params.replace(goal=state.both[:2])
        obs, inner, *rest = super().step_env(key, inner, action, params)
        both = state.both.at[2].add(1.0)
        return obs, Remembering(inner.position, inner.time, both), *rest


def test_task_law_catches_a_task_kept_in_the_state():
    honest = dense_square(horizon=5)
    env = KeepsGoalInState(
        **{name: getattr(honest.env, name) for name in ("scale", "reward", "start", "reached")}
    )
    benchmark = honest._replace(env=env)
    says = ("state.both is constant", "in PointGoal(goal=")
    breaks(laws.task_is_constant_across_resets, benchmark, says=says)
    laws.task_is_constant_across_resets(benchmark, observed=(".both",))


# --- physics ------------------------------------------------------------------------------------


def pendulum_physics(*, step=None):
    """qvel' = qvel + dt (u - sin qpos), in JAX."""

    def swing(state, ctrl, overrides):
        qvel = state.qvel + 0.1 * (ctrl - jnp.sin(state.qpos))
        return eqx.tree_at(lambda s: (s.qpos, s.qvel), state, (state.qpos + 0.1 * qvel, qvel))

    def reset(qpos, qvel, overrides):
        return PhysicsState(qpos, qvel, jnp.zeros(0), jnp.zeros(1), jnp.zeros(0))

    return Physics(reset, step or swing, lambda overrides: overrides, 0.1, 1, 1, 1)


def on_host(host):
    """A physics whose velocity comes from the host: host(qpos) -> qvel, whatever the batch."""

    def step(state, ctrl, overrides):
        result = jax.ShapeDtypeStruct((1,), jnp.float32)
        qvel = jax.pure_callback(host, result, state.qpos, vmap_method="broadcast_all")
        return eqx.tree_at(lambda s: s.qvel, state, qvel)

    return pendulum_physics(step=step)


def hidden_warm_start():
    """The host remembers the last simulation, whichever it was."""
    last = [0.0]

    def host(qpos):
        qvel = np.asarray(qpos) + 1e-3 * last[0]
        last[0] = float(qvel.ravel()[0])
        return qvel.astype(np.float32)

    return on_host(host)


def misorders_rows():
    """Leading axes are folded in one order and unfolded in another: right up to two of them."""

    def host(qpos):
        qpos = np.asarray(qpos)
        if qpos.ndim < 4:
            return qpos
        return qpos.reshape(-1, 1, order="F").reshape(qpos.shape)

    return on_host(host)


PHYSICS_LAWS = (laws.physics_is_pure, laws.physics_vmap_equals_loop)


@pytest.mark.parametrize("law", PHYSICS_LAWS)
def test_physics_obeys(law):
    law(pendulum_physics())
    law(make_physics("half_cheetah", frame_skip=2, engine="native", num_threads=1))


def test_physics_laws_catch_broken_engines():
    breaks(laws.physics_is_pure, hidden_warm_start(), says=("in between", "seed =", ".qvel: left"))
    breaks(
        laws.physics_vmap_equals_loop,
        misorders_rows(),
        says=("vmap of step", "axes = (2, 1, 3)", ".qvel: r"),
    )
    laws.physics_vmap_equals_loop(misorders_rows(), axes=(3,))
