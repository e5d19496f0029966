"""PEARL's gradient step against the machine's own float32 matmul rate at the same layer shapes.

    python benchmarks/gradient_step.py [PRESET ...]

The step's time is the slope of an update's time in its number of gradient steps; its operations are
what XLA's cost analysis counts (a loop's body once, so an update counts one gradient step and one
step of the environment, which is below a hundredth of it). The ceiling runs the products of the
policy's and critics' layers alone, forward and both backward, with nothing between them. Both are
measured in turn in one run; the ratio is the median over repeats.
"""

import dataclasses
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

import jax
import jax.random as jr

sys.path.insert(0, str(Path(__file__).parent.parent / "recipes"))
import pearl

from metablocks.envs import catalogue
from metablocks.experiment import presets

SHORT, LONG, REPEATS = 4, 24, 7


def timed(function, *arguments) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - start


def products(cfg):
    """One jitted run over every product of the widest networks, and its operations."""
    obs_size, action_size = catalogue.sizes(catalogue.benchmark(cfg.benchmark))
    rows = cfg.meta_batch * cfg.batch
    sizes = [obs_size + action_size + cfg.z_size, *[cfg.width] * cfg.depth, 1]
    layers = list(pairwise(sizes))
    xs = [jr.normal(jr.key(i), (rows, fan_in)) for i, (fan_in, _) in enumerate(layers)]
    gs = [jr.normal(jr.key(i), (rows, fan_out)) for i, (_, fan_out) in enumerate(layers)]
    ws = [jr.normal(jr.key(i), (fan_out, fan_in)) for i, (fan_in, fan_out) in enumerate(layers)]

    @jax.jit
    def run(xs, gs, ws):
        forward = [x @ w.T for x, w in zip(xs, ws, strict=True)]
        to_weights = [g.T @ x for g, x in zip(gs, xs, strict=True)]
        to_inputs = [g @ w for g, w in zip(gs, ws, strict=True)]
        return forward, to_weights, to_inputs

    operations = 3 * sum(2 * rows * fan_in * fan_out for fan_in, fan_out in layers)
    return lambda: run(xs, gs, ws), operations


def measure(name: str, cfg) -> None:
    runs, state, operations = {}, None, 0.0
    for steps in (SHORT, LONG):
        learner, _, _ = pearl.make(dataclasses.replace(cfg, grad_steps=steps))
        if state is None:
            state = jax.jit(learner.init)(jr.key(0))
        compiled = jax.jit(learner.update).lower(state, jr.key(1)).compile()
        runs[steps], operations = compiled, compiled.cost_analysis()["flops"]
    ceiling, ceiling_operations = products(cfg)
    ratios, steps_ms, rates = [], [], []
    for _ in range(REPEATS + 1):
        short, long = (timed(runs[steps], state, jr.key(1)) for steps in (SHORT, LONG))
        ceiling()
        peak = ceiling_operations / min(timed(ceiling) for _ in range(5))
        step = (long - short) / (LONG - SHORT)
        steps_ms.append(1e3 * step)
        rates.append(operations / step / 1e9)
        ratios.append(operations / step / peak)
    print(
        f"{name:24s} {median(steps_ms[1:]):8.2f} ms/step  {operations / 1e9:7.2f} Gflop  "
        f"{median(rates[1:]):7.1f} Gflop/s  ratio to matmul {median(ratios[1:]):.2f}"
    )


if __name__ == "__main__":
    known = presets(pearl.Config, pearl.__file__)
    published = pearl.Config(benchmark="cheetah-vel", num_train_tasks=8, trial_episodes=1)
    chosen = sys.argv[1:] or ["sparse-point-robot", "published cheetah-vel"]
    print(f"{jax.devices()[0].device_kind}, float32")
    for name in chosen:
        measure(name, published if name.startswith("published") else known[name])
