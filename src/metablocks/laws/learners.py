"""Laws of a `Learner`."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from metablocks.laws.claim import fail, for_all, same, same_structure
from metablocks.types import Learner


def learner_scan_equals_loop(
    learner: Learner,
    *,
    num_updates: int = 3,
    examples: int = 2,
    rtol: float = 1e-3,
    atol: float = 1e-5,
) -> None:
    """scan(update, s, keys) = update(... update(update(s, k_0), k_1) ..., k_n): states and metrics.

    Bit for bit is too much to ask: XLA may fuse the two differently.
    """
    _update_keeps_structure(learner)
    scan = jax.jit(lambda state, keys: jax.lax.scan(learner.update, state, keys))
    update = jax.jit(learner.update)

    def check(seed):
        start = jax.jit(learner.init)(jr.key(seed))
        keys = jr.split(jr.key(seed + 1), num_updates)
        left = scan(start, keys)
        state, metrics = start, []
        for key in keys:
            state, metric = update(state, key)
            metrics.append(metric)
        right = state, jax.tree.map(lambda *rows: jnp.stack(rows), *metrics)
        same(left, right, "scan(update) = loop of update", rtol=rtol, atol=atol, seed=seed)

    for_all(check, examples=examples)


def learner_vmap_equals_separate(
    learner: Learner,
    *,
    runs: int = 2,
    num_updates: int = 2,
    examples: int = 2,
    rtol: float = 1e-3,
    atol: float = 1e-5,
) -> None:
    """vmap(run)(keys)_i = run(keys_i): seeds trained side by side do not see one another."""
    _update_keeps_structure(learner)
    alone = Learner(jax.jit(learner.init), jax.jit(learner.update))
    together = Learner(jax.jit(jax.vmap(learner.init)), jax.jit(jax.vmap(learner.update)))

    def run(learner, keys):
        state, metrics = learner.init(keys[0]), []
        for key in keys[1:]:
            state, metric = learner.update(state, key)
            metrics.append(metric)
        return state, metrics

    def check(seed):
        keys = jr.split(jr.key(seed), (num_updates + 1, runs))
        left = run(together, keys)
        right = [run(alone, keys[:, i]) for i in range(runs)]
        right = jax.tree.map(lambda *rows: jnp.stack(rows), *right)
        same(left, right, "vmap(run)(keys)_i = run(keys_i)", rtol=rtol, atol=atol, seed=seed)

    for_all(check, examples=examples)


def learner_resumes_exactly(learner: Learner, *, num_updates: int = 2, examples: int = 2) -> None:
    """update(stored(s), k) = update(s, k) for every later update, bit for bit.

    stored(s) went through the host's memory as numpy arrays, in a copy. So the state holds all
    that the future depends on, as arrays, and none of it is a PRNG key.
    """
    _update_keeps_structure(learner)
    update = jax.jit(learner.update)

    def stored(state, seed):
        for path, leaf in jax.tree_util.tree_leaves_with_path(state):
            if jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key):
                name = jax.tree_util.keystr(path)
                fail("the state holds no PRNG key", f"{name} is a {leaf.dtype}", seed=seed)
        return jax.tree.map(lambda leaf: jnp.asarray(np.array(leaf)), state)

    def check(seed):
        k_init, k_before, k_after = jr.split(jr.key(seed), 3)

        def run(state, key):
            for k in jr.split(key, num_updates):
                state, _ = update(state, k)
            return state

        halfway = run(jax.jit(learner.init)(k_init), k_before)
        saved = stored(halfway, seed)
        uninterrupted = run(halfway, k_after)
        same(run(saved, k_after), uninterrupted, "resumed = uninterrupted", seed=seed)

    for_all(check, examples=examples)


def learner_is_traced_once(learner: Learner, *, num_updates: int = 4) -> None:
    """jit(update) compiles once: its state keeps its shapes, dtypes and weak types."""
    traces = []

    @jax.jit
    def update(state, key):
        traces.append(jax.tree.map(lambda leaf: str(jax.typeof(leaf)), state))
        return learner.update(state, key)

    state = jax.jit(learner.init)(jr.key(0))
    for key in jr.split(jr.key(1), num_updates):
        state, _ = update(state, key)
    if len(traces) > 1:
        facts = [f"trace {number}: {trace}" for number, trace in enumerate(traces)]
        fail("update is traced once", *facts, seed=0)


def _update_keeps_structure(learner: Learner) -> None:
    state = jax.eval_shape(learner.init, jr.key(0))
    after, _ = jax.eval_shape(learner.update, state, jr.key(0))
    same_structure(state, after, "update keeps the structure of init's state", seed=0)
