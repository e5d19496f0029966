"""How fast agents learn on policy: whole updates against the bare environment loop.

    python benchmarks/on_policy.py [--repeats 5] [--scaling | --inner-steps]

Environment steps per second, on every CPU there is:

    bare      the same trials, made by an agent that picks any action: the ceiling
    training  updates as the recipe runs them: collection and every gradient step

A repeat measures both once, in turn; the table holds medians, and the ratio is the median of the
repeats' ratios. With --scaling: RL2 on the gridworld with 16 to 4,096 tasks per update, and the
memory that the compiled update needs. With --inner-steps: the memory of ProMP's update with 1 to 8
inner steps on 2-D navigation, kept and rematerialised.
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
from metablocks.collection import RoundsConfig, new_trials
from metablocks.evaluate import trials
from metablocks.experiment import presets
from metablocks.types import Agent

ONE_STEP = {"inner_steps": 1, "step_sizes": "fixed"}
CASES = (
    ("rl2", "gridworld", {}),
    ("rl2", "bandit-100", {}),
    ("varibad", "gridworld", {}),
    ("promp", "navigation", ONE_STEP),
    ("maml", "navigation", ONE_STEP),
)
INNER_STEPS = (1, 2, 4, 8)
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
    if isinstance(cfg, RoundsConfig):
        return lambda state, key: (state, bare_rounds(agent, benchmark, cfg, key))
    return lambda state, key: (state, new_trials(agent, benchmark, cfg, None, key).reward)


def bare_rounds(agent: Agent, benchmark: Any, cfg: RoundsConfig, key: Any) -> Any:
    """The rewards of an update's rounds."""
    tasks = benchmark.train(key, cfg.meta_batch)
    num = {"episodes": cfg.inner_steps + 1, "shots": cfg.shots}
    return trials(agent, benchmark, None, None, tasks, key=key, **num).reward


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
    if isinstance(cfg, RoundsConfig):
        steps = cfg.meta_batch * (cfg.inner_steps + 1) * cfg.shots * benchmark.horizon
    else:
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


def inner_steps() -> None:
    """The memory of ProMP's update against inner steps, with and without rematerialisation."""
    recipe = importlib.import_module("promp")
    preset = presets(recipe.Config, recipe.__file__)["navigation"]
    print("| inner steps | kept, MB | rematerialised, MB |\n|---|---|---|")
    for steps in INNER_STEPS:
        row = []
        for again in (False, True):
            cfg = dataclasses.replace(preset, inner_steps=steps, rematerialise=again)
            learner, _, _ = recipe.make(cfg)
            state = jax.eval_shape(learner.init, jr.key(0))
            needs = jax.jit(learner.update).lower(state, jr.key(0)).compile().memory_analysis()
            row.append((needs.temp_size_in_bytes + needs.argument_size_in_bytes) / 2**20)
        print(f"| {steps} | {row[0]:,.0f} | {row[1]:,.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--inner-steps", action="store_true")
    options = parser.parse_args()
    if options.inner_steps:
        return inner_steps()
    first = "tasks per update" if options.scaling else "recipe, preset"
    print(f"| {first} | bare | training | training / bare | memory, MB |")
    print("|---|---|---|---|---|")
    scales = [("rl2", "gridworld", {"meta_batch": scale}) for scale in SCALES]
    for name, preset, changed in scales if options.scaling else CASES:
        bare_rate, rate, ratio, memory = measured(name, preset, options.repeats, **changed)
        label = f"{changed['meta_batch']:,}" if options.scaling else f"{name} {preset}"
        print(f"| {label} | {bare_rate:,.0f} | {rate:,.0f} | {ratio:.3f} | {memory:,.0f} |",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
