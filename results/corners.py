"""What an untrained policy is paid for on sparse corners: python results/corners.py > corners.md

Sampling credit teaches the policy before any data to make data that are worth having. Where its
noise alone finds what pays, there is little to teach.
"""

import dataclasses
import importlib
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import jax.random as jr

sys.path.insert(0, str(Path(__file__).parent.parent / "recipes"))
from metablocks.evaluate import trials
from metablocks.experiment import presets

SEEDS, TASKS = 5, 40
LOG_SCALES = (-0.3, -1.5, -2.5)
HEAD = f"""# Sparse corners: what an untrained policy is paid for

`python results/corners.py`: ProMP's preset before training, {SEEDS} seeds, {TASKS} tasks, a
round of 20 episodes each.

| log sigma at first | episodes with any reward | rounds with any |
|---|---|---|"""


def paid(promp, cfg, key):
    """Whether an untrained policy's episode has any reward, good or bad, [tasks, episodes]."""
    learner, agent, benchmark = promp.make(cfg)
    k_theta, k_tasks, k_trials = jr.split(key, 3)
    theta = learner.init(k_theta).theta
    phi = jax.vmap(lambda key: agent.prior(theta, key))(jr.split(key, TASKS))
    tasks = benchmark.test(k_tasks, TASKS)
    rounds = trials(agent, benchmark, theta, phi, tasks, episodes=1, key=k_trials, shots=20)
    return jnp.any(rounds.reward[:, 0] != 0, axis=-1)


def main() -> None:
    promp = importlib.import_module("promp")
    preset = presets(promp.Config, promp.__file__)["sparse-corners"]
    print(HEAD)
    for log_scale in LOG_SCALES:
        cfg = dataclasses.replace(preset, log_scale=log_scale)
        found = jax.jit(jax.vmap(lambda key: paid(promp, cfg, key)))(jr.split(jr.key(0), SEEDS))  # noqa: B023
        print(f"| {log_scale} | {found.mean():.0%} | {found.any(axis=-1).mean():.0%} |")


if __name__ == "__main__":
    main()
