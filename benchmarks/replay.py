"""The per-task ring against flashbax's item buffer, one per task: drawing a meta-batch.

    pip install flashbax; python benchmarks/replay.py

Draws 64 transitions of each of 16 tasks out of 100, as a PEARL gradient step does, and adds one
trial to each of 10. A flashbax buffer has one cursor and samples over all of it, so that there is
one per task: `vmap` picks the task's buffer, and with it copies the task's storage.
"""

import time
from statistics import median

import flashbax
import jax
import jax.numpy as jnp
import jax.random as jr

from metablocks import replay

NUM_TASKS, CAPACITY, WIDTH, TASKS, NUM, TRIAL = 100, 5000, 48, 16, 64, 200


def clock(function, *arguments, number=50) -> float:
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(number):
            out = function(*arguments)
        jax.block_until_ready(out)
        times.append((time.perf_counter() - start) / number)
    return 1e6 * median(times)


def main() -> None:
    item, ids = jnp.zeros(WIDTH), jnp.arange(TASKS) * 5
    rows = jr.normal(jr.key(0), (NUM_TASKS, TRIAL, WIDTH))

    ring = replay.init(item, num_tasks=NUM_TASKS, capacity=CAPACITY)
    ring = replay.add(ring, jnp.arange(NUM_TASKS), rows)
    ours = jax.jit(lambda ring, key: replay.sample(ring, ids, num=NUM, key=key))

    buffer = flashbax.make_item_buffer(
        max_length=CAPACITY, min_length=1, sample_batch_size=NUM, add_batches=True
    )
    states = jax.vmap(lambda _: buffer.init(item))(jnp.arange(NUM_TASKS))
    states = jax.vmap(buffer.add)(states, rows)

    @jax.jit
    def theirs(states, key):
        def one(task, key):
            return buffer.sample(jax.tree.map(lambda x: x[task], states), key).experience

        return jax.vmap(one)(ids, jr.split(key, TASKS))

    a, b = clock(ours, ring, jr.key(1)), clock(theirs, states, jr.key(1))
    print(f"draw {TASKS} x {NUM}: ring {a:.0f} us, flashbax {b:.0f} us, ratio {b / a:.1f}")


if __name__ == "__main__":
    main()
