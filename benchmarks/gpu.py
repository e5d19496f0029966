"""A recipe on the half-cheetah with MJX, seeds side by side.

    python benchmarks/gpu.py [pearl | rl2 | varibad] [--seeds N] [--train]

Prints control steps a second of bare MJX and of collection, the time of one update (PEARL with the
published numbers; RL2 and VariBAD with 2,048 tasks an update), and the share of it that is physics.
With --train it then meta-trains (PEARL to 1,000,000 environment steps a seed, the others to
50,000,000) by the ordinary command, which records time and return. Without an accelerator pass
--tiny to see that it runs.
"""

import argparse
import dataclasses
import importlib
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr

RECIPES = Path(__file__).parent.parent / "recipes"
sys.path.insert(0, str(RECIPES))
from metablocks.envs import catalogue
from metablocks.envs.half_cheetah import cheetah_direction, cheetah_velocity
from metablocks.evaluate import trials
from metablocks.experiment import presets
from metablocks.exploration import held_action


class Case(NamedTuple):
    """What a recipe is measured on."""

    preset: str
    world: Any
    parallel: str
    """The option that says in how many tasks a seed collects at once."""
    total: int
    """Environment steps of a seed with --train."""
    full: dict[str, int]
    tiny: dict[str, int]


FEW = {"meta_batch": 4, "minibatches": 2, "epochs": 1, "width": 8}
FEW_BELIEFS = {"memory": 4, "vae_batch": 2, "vae_steps": 1, "vae_warmup": 1, "vae_capacity": 8,
               "elbo_terms": 2}  # fmt: skip
CASES = {
    "pearl": Case(
        "cheetah-vel-published", cheetah_velocity, "tasks_per_update", 1_000_000, {},
        {"num_train_tasks": 2, "tasks_per_update": 2, "trial_episodes": 1, "grad_steps": 2,
         "width": 8, "meta_batch": 2, "batch": 4, "capacity": 100},
    ),
    "rl2": Case(
        "cheetah-dir", cheetah_direction, "meta_batch", 50_000_000, {"meta_batch": 2048}, FEW
    ),
    "varibad": Case(
        "cheetah-dir", cheetah_direction, "meta_batch", 50_000_000,
        {"meta_batch": 2048, "vae_capacity": 4096}, FEW | FEW_BELIEFS,
    ),
}  # fmt: skip


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


def update_time(recipe: Any, cfg: Any, num_seeds: int) -> tuple[float, int, int]:
    """Seconds, environment steps and gradient steps of one update of all seeds."""
    learner, _, _ = recipe.make(cfg)
    keys = jr.split(jr.key(0), num_seeds)
    update = jax.jit(jax.vmap(learner.update))
    state, before = update(jax.jit(jax.vmap(learner.init))(keys), keys)
    _, after = update(state, keys)
    steps, gradients = (int((after[k] - before[k]).sum()) for k in ("env_steps", "grad_steps"))
    return seconds(update, state, keys, repeats=2), steps, gradients


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", nargs="?", choices=CASES, default="pearl")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    case, recipe = CASES[options.recipe], importlib.import_module(options.recipe)
    cfg = presets(recipe.Config, recipe.__file__)[case.preset]
    cfg = dataclasses.replace(cfg, **(case.tiny if options.tiny else case.full))
    parallel = options.seeds * getattr(cfg, case.parallel)
    batch, steps = (4, 4) if options.tiny else (max(parallel, options.seeds * 1024), 200)
    benchmark = case.world("mjx", horizon=steps)
    catalogue.BENCHMARKS[cfg.benchmark] = lambda: benchmark
    print(f"device: {jax.devices()[0].device_kind}, {options.seeds} seeds")
    bare = bare_rate(benchmark.env.physics, batch, steps)
    collect = collection_rate(benchmark, batch)
    print(f"batch {batch}: bare MJX {bare:,.0f} steps/s, collection {collect:,.0f} steps/s, "
          f"ratio {collect / bare:.2f}")  # fmt: skip
    taken, made, gradients = update_time(recipe, cfg, options.seeds)
    narrow = bare_rate(benchmark.env.physics, parallel, steps)
    print(f"one update: {taken:.2f} s for {made:,} steps and {gradients:,} gradient steps, "
          f"{made / taken:,.0f} steps/s")  # fmt: skip
    print(f"physics alone is {made / narrow / taken:.0%} of it")
    if options.train:
        number = -(-case.total * options.seeds // made)
        changed = [
            word
            for name, value in case.full.items()
            for word in (f"--{name.replace('_', '-')}", str(value))
        ]
        subprocess.run(
            [sys.executable, RECIPES / f"{options.recipe}.py", case.preset, *changed, "--seeds",
             str(options.seeds), "--num-updates", str(number), "--eval-every",
             str(max(1, number // 20))], check=True)  # fmt: skip


if __name__ == "__main__":
    main()
