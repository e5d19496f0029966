"""How fast experience is collected: the native engine against bare MuJoCo on the same machine.

    python benchmarks/collection.py [--mjx] [--batches 16 64 128 256] [--repeats 5]

Control steps of the half-cheetah (five simulator steps each) per second, with random controls:

    bare     `mujoco.batch.Batch` and numpy, every CPU
    native   the native engine inside jit(vmap(scan)), as many threads
    rollout  `metablocks.rollout` with a policy of 3 x 300 units on the native engine
    mjx      MJX as XLA operations, 1 solver and 4 line-search iterations (on request)

A repeat measures every column once, in turn, so that a busy machine slows them alike; the table
holds medians, and the ratio is the median of the repeats' ratios.
"""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from mujoco.batch import Batch

from metablocks.envs.half_cheetah import FRAME_SKIP, cheetah_velocity
from metablocks.envs.physics import Physics, make_physics
from metablocks.envs.physics.base import load_model
from metablocks.rollout import rollout
from metablocks.types import Agent

MODEL = "half_cheetah"


def bare(batch: int, num_steps: int) -> Callable[[], None]:
    model = load_model(MODEL)
    simulations = Batch(model, batch)
    qpos, qvel = simulations.bind("qpos"), simulations.bind("qvel")
    ctrl = simulations.bind("ctrl")
    rng = np.random.default_rng(0)

    def run() -> None:
        qpos[...] = rng.uniform(-0.1, 0.1, qpos.shape)
        qvel[...] = 0.0
        for controls in rng.uniform(-1, 1, (num_steps, *ctrl.shape)):
            ctrl[...] = controls
            simulations.step(nstep=FRAME_SKIP)

    return run


def engine(physics: Physics, batch: int, num_steps: int) -> Callable[[], None]:
    def one(key):
        k_qpos, k_ctrl = jr.split(key)
        qpos = jr.uniform(k_qpos, (physics.nq,), minval=-0.1, maxval=0.1)

        def step(state, ctrl):
            state = physics.step(state, ctrl, {})
            return state, state.qpos[0]

        controls = jr.uniform(k_ctrl, (num_steps, physics.nu), minval=-1.0, maxval=1.0)
        state = physics.reset(qpos, jnp.zeros(physics.nv), {})
        return jax.lax.scan(step, state, controls)[1]

    collect = jax.jit(jax.vmap(one))
    keys = jr.split(jr.key(0), batch)
    return lambda: jax.block_until_ready(collect(keys))


def whole(batch: int, num_steps: int) -> Callable[[], None]:
    benchmark = cheetah_velocity("native")
    sizes = (20, 300, 300, 300, 6)
    keys = jr.split(jr.key(1), len(sizes) - 1)
    theta = [
        jr.normal(key, (m, n)) / jnp.sqrt(n)
        for key, n, m in zip(keys, sizes, sizes[1:], strict=False)
    ]

    def act(theta, phi, timestep, key):
        hidden = timestep.obs
        for weight in theta[:-1]:
            hidden = jax.nn.relu(weight @ hidden)
        action = jnp.tanh(theta[-1] @ hidden + jr.normal(key, (6,)))
        return action, {}, phi

    agent = Agent(lambda theta, key: None, act, lambda theta, phi, trajectories, key: phi)
    tasks = benchmark.train(jr.key(0), batch)

    @jax.jit
    def collect(theta, tasks, key):
        def one(task, key):
            _, trajectory = rollout(
                agent, benchmark.env, theta, None, task, num_steps=num_steps, key=key
            )
            return trajectory.reward

        return jax.vmap(one)(tasks, jr.split(key, batch))

    return lambda: jax.block_until_ready(collect(theta, tasks, jr.key(2)))


def seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mjx", action="store_true", help="also MJX; compiles for 15 s a batch")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64, 128, 256])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=25_600, help="control steps per measurement")
    options = parser.parse_args()
    native = make_physics(MODEL, frame_skip=FRAME_SKIP, engine="native")
    columns = ["bare", "native", "rollout"] + ["mjx"] * options.mjx
    print("| batch | " + " | ".join(columns) + " | native / bare |")
    print("|---" * (len(columns) + 2) + "|")
    for batch in options.batches:
        num_steps = max(options.steps // batch, 1)
        runs = [bare(batch, num_steps), engine(native, batch, num_steps), whole(batch, num_steps)]
        if options.mjx:
            limits = {"iterations": 1, "ls_iterations": 4}
            mjx = make_physics(MODEL, frame_skip=FRAME_SKIP, engine="mjx", **limits)
            runs.append(engine(mjx, batch, num_steps))
        for run in runs:
            run()
        rates = (
            batch
            * num_steps
            / np.array([[seconds(run) for run in runs] for _ in range(options.repeats)])
        )
        cells = [f"{rate:,.0f}" for rate in np.median(rates, axis=0)]
        ratio = np.median(rates[:, 1] / rates[:, 0])
        print(f"| {batch} | " + " | ".join(cells) + f" | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
