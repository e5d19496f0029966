"""How fast agents with a memory learn: whole updates against the bare environment loop.

    python benchmarks/on_policy.py [--repeats 5] [--scaling]

Environment steps per second, on every CPU there is:

    bare      the same trials, made by an agent that picks any action: the ceiling
    training  updates as the recipe runs them: collection and every gradient step

A repeat measures both once, in turn; the table holds medians, and the ratio is the median of the
repeats' ratios. With --scaling: RL2 on the gridworld with 16 to 4,096 tasks per update, and the
memory that the compiled update needs.
"""

import argparse
import dataclasses
import importlib
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.random as jr
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "recipes"))
from metablocks.collection import new_trials
from metablocks.experiment import presets
from metablocks.types import Agent

CASES = (("rl2", "gridworld"), ("rl2", "bandit-100"), ("varibad", "gridworld"))
SCALES = (16, 64, 256, 1024, 4096)
LEAST_STEPS = 500_000
"""Environment steps of a measurement."""


def bare(benchmark: Any, cfg: Any) -> Any:
    """(state, key) -> (state, rewards) of one update's trials, by any actions."""
    env = benchmark.env
    space = env.action_space(env.default_params)
    agent = Agent(
        lambda theta, key: None,
        lambda theta, phi, timestep, key: (space.sample(key), {}, phi),
        lambda theta, phi, trajectories, key: phi,
    )
    return lambda state, key: (state, new_trials(agent, benchmark, cfg, None, key).reward)


def repeated(step: Any, count: int) -> Any:
    """`count` of them in one program, which returns something of each."""

    def run(state, key):
        state, out = jax.lax.scan(step, state, jr.split(key, count))
        return state, jax.tree.map(lambda leaf: leaf.sum(), out)

    return run


def measured(name: str, preset: str, repeats: int, **changed: Any) -> tuple[float, ...]:
    """Steps per second bare and in training, their ratio, and the update's memory in MB."""
    recipe = importlib.import_module(name)
    cfg = dataclasses.replace(presets(recipe.Config, recipe.__file__)[preset], **changed)
    learner, _, benchmark = recipe.make(cfg)
    state = jax.jit(learner.init)(jr.key(0))
    steps = cfg.meta_batch * cfg.trial_episodes * benchmark.horizon
    count = max(1, -(-LEAST_STEPS // steps))
    runs = [
        jax.jit(repeated(step, count)).lower(state, jr.key(0)).compile()
        for step in (bare(benchmark, cfg), learner.update)
    ]
    rates = []
    for repeat in range(repeats + 1):
        row = []
        for run in runs:
            begun = time.perf_counter()
            jax.block_until_ready(run(state, jr.key(repeat)))
            row.append(count * steps / (time.perf_counter() - begun))
        rates.append(row)
    kept = np.array(rates[1:])  # the first call is not counted
    needs = runs[1].memory_analysis()
    memory = needs.temp_size_in_bytes + needs.argument_size_in_bytes
    bare_rate, rate = np.median(kept, axis=0)
    return bare_rate, rate, float(np.median(kept[:, 1] / kept[:, 0])), memory / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scaling", action="store_true")
    options = parser.parse_args()
    first = "tasks per update" if options.scaling else "recipe, preset"
    print(f"| {first} | bare | training | training / bare | memory, MB |")
    print("|---|---|---|---|---|")
    cases = [("rl2", "gridworld", {"meta_batch": scale}) for scale in SCALES]
    for name, preset, changed in cases if options.scaling else [(*case, {}) for case in CASES]:
        bare_rate, rate, ratio, memory = measured(name, preset, options.repeats, **changed)
        label = f"{changed['meta_batch']:,}" if changed else f"{name} {preset}"
        print(f"| {label} | {bare_rate:,.0f} | {rate:,.0f} | {ratio:.3f} | {memory:,.0f} |",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
