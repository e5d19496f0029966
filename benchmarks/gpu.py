"""PEARL on half-cheetah velocity with MJX, seeds side by side.

    python benchmarks/gpu.py [--seeds N] [--train]

Prints control steps a second of bare MJX and of collection, the time of one update with the
published numbers, and the share of it that is physics. With --train it then meta-trains to
1,000,000 environment steps by the ordinary command, which records time and return. Without an
accelerator pass --tiny to see that it runs.
"""

import argparse
import dataclasses
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import jax
import jax.numpy as jnp
import jax.random as jr

RECIPE = Path(__file__).parent.parent / "recipes" / "pearl.py"
sys.path.insert(0, str(RECIPE.parent))
import pearl

from metablocks.envs import catalogue
from metablocks.envs.half_cheetah import cheetah_velocity
from metablocks.evaluate import trials
from metablocks.experiment import presets
from metablocks.exploration import held_action


def seconds(function, *arguments, repeats=3) -> float:
    """Median time of a compiled call, after one that is not counted."""
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - start)
    return median(times)


def bare_rate(physics, batch: int, steps: int) -> float:
    """Control steps a second of the engine alone, with controls that are given."""

    def one(key):
        ctrl = jr.uniform(key, (steps, physics.nu), minval=-1.0, maxval=1.0)
        start = physics.reset(jnp.zeros(physics.nq), jnp.zeros(physics.nv), {})
        return jax.lax.scan(lambda s, u: (physics.step(s, u, {}), None), start, ctrl)[0].qpos

    keys = jr.split(jr.key(0), batch)
    return batch * steps / seconds(jax.jit(jax.vmap(one)), keys)


def collection_rate(benchmark, batch: int) -> float:
    """Control steps a second of one episode in each of `batch` tasks, through `rollout`."""
    explorer, tasks = held_action(6, noise=0.3), benchmark.train(jr.key(0), batch)
    phi = jax.vmap(lambda key: explorer.prior(None, key))(jr.split(jr.key(1), batch))

    def run(key):
        return trials(explorer, benchmark, None, phi, tasks, episodes=1, key=key).reward

    return batch * benchmark.horizon / seconds(jax.jit(run), jr.key(2))


def update_time(cfg, num_seeds: int) -> tuple[float, int]:
    """Seconds and environment steps of one update of all seeds."""
    learner, _, benchmark = pearl.make(cfg)
    keys = jr.split(jr.key(0), num_seeds)
    state = jax.jit(jax.vmap(learner.init))(keys)
    update = jax.jit(jax.vmap(learner.update))
    steps = num_seeds * cfg.tasks_per_update * cfg.trial_episodes * benchmark.horizon
    return seconds(update, state, keys, repeats=2), steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    batch, steps = (4, 4) if options.tiny else (options.seeds * 1024, 200)
    benchmark = cheetah_velocity("mjx", horizon=steps)
    catalogue.BENCHMARKS["cheetah-vel"] = lambda: benchmark
    cfg = presets(pearl.Config, pearl.__file__)["cheetah-vel-published"]
    if options.tiny:
        cfg = dataclasses.replace(
            cfg, num_train_tasks=2, tasks_per_update=2, trial_episodes=1, grad_steps=2, width=8,
            meta_batch=2, batch=4, capacity=100,
        )  # fmt: skip
    print(f"device: {jax.devices()[0].device_kind}, {options.seeds} seeds")
    bare = bare_rate(benchmark.env.physics, batch, steps)
    collect = collection_rate(benchmark, batch)
    print(f"batch {batch}: bare MJX {bare:,.0f} steps/s, collection {collect:,.0f} steps/s, "
          f"ratio {collect / bare:.2f}")  # fmt: skip
    taken, made = update_time(cfg, options.seeds)
    narrow = bare_rate(benchmark.env.physics, options.seeds * cfg.tasks_per_update, steps)
    print(f"one update: {taken:.2f} s for {made:,} steps and {options.seeds * cfg.grad_steps:,} "
          f"gradient steps; physics alone {made / narrow / taken:.0%} of it")  # fmt: skip
    if options.train:
        per_update = cfg.tasks_per_update * cfg.trial_episodes * 200
        first = cfg.num_train_tasks * cfg.trial_episodes * 200
        number = -(-(1_000_000 - first) // per_update)
        subprocess.run(
            [sys.executable, RECIPE, "cheetah-vel-published", "--seeds", str(options.seeds),
             "--num-updates", str(number), "--eval-every", "20"], check=True)  # fmt: skip


if __name__ == "__main__":
    main()
