"""The replay against a list."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import scipy.stats

from metablocks import replay

TASKS, CAPACITY = 3, 5
ADD = jax.jit(replay.add)


def rows(*values):
    """Items of two leaves, [1, n] and [1, n, 2], for one task."""
    x = jnp.array([values], jnp.float32)
    return {"x": x, "y": jnp.stack([x, -x], axis=-1)}


def empty():
    item = {"x": jnp.zeros(()), "y": jnp.zeros(2)}
    return replay.init(item, num_tasks=TASKS, capacity=CAPACITY)


def held(memory, task):
    count = min(int(memory.added[task]), CAPACITY)
    return sorted(np.asarray(memory.items["x"][task, :count]).tolist())


def test_holds_exactly_the_last_items_through_the_wrap_around():
    memory, reference = empty(), []
    for n in (2, 3, 1, 4, 5, 2):
        new = [float(len(reference) + i) for i in range(n)]
        memory = ADD(memory, jnp.array([1]), rows(*new))
        reference += new
        assert held(memory, 1) == reference[-CAPACITY:]
        assert memory.added[1] == len(reference)
        np.testing.assert_array_equal(memory.items["y"][..., 1], -memory.items["x"])


def test_touches_only_its_tasks():
    memory = ADD(empty(), jnp.array([1]), rows(7.0, 8.0))
    both = jax.tree.map(lambda x: jnp.concatenate([x, 10 * x]), rows(1.0, 2.0))
    after = ADD(memory, jnp.array([2, 0]), both)
    assert held(after, 2) == [1, 2] and held(after, 0) == [10, 20] and held(after, 1) == [7, 8]
    np.testing.assert_array_equal(after.items["x"][1], memory.items["x"][1])


def test_latest_is_in_order_and_says_what_exists():
    memory = empty()
    latest = jax.jit(replay.latest, static_argnames="num")
    items, exist = latest(memory, jnp.array(0), num=3)
    assert not exist.any()
    memory = ADD(memory, jnp.array([0]), rows(1.0, 2.0))
    items, exist = latest(memory, jnp.array(0), num=3)
    np.testing.assert_array_equal(exist, [False, True, True])
    np.testing.assert_array_equal(items["x"][1:], [1, 2])
    memory = ADD(memory, jnp.array([0]), rows(3.0, 4.0, 5.0, 6.0))
    items, exist = latest(memory, jnp.array(0), num=3)
    assert exist.all()
    np.testing.assert_array_equal(items["y"], [[4, -4], [5, -5], [6, -6]])


@pytest.mark.parametrize("added", [3, 5, 8])
def test_samples_uniformly_what_it_holds(added):
    memory = empty()
    for start in range(0, added, 4):
        values = [float(i) for i in range(start, min(start + 4, added))]
        memory = ADD(memory, jnp.array([2]), rows(*values))
    items = replay.sample(memory, jnp.array(2), num=3000, key=jr.key(0))
    np.testing.assert_array_equal(items["y"][:, 0], items["x"])
    values, counts = np.unique(items["x"], return_counts=True)
    np.testing.assert_array_equal(values, np.arange(max(0, added - CAPACITY), added))
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_several_tasks_at_once_are_each_task_alone():
    memory = ADD(
        empty(),
        jnp.array([0, 2]),
        jax.tree.map(lambda x: jnp.concatenate([x, -x]), rows(1.0, 2.0, 3.0)),
    )
    tasks = jnp.array([2, 0, 1])
    together, exist = replay.latest(memory, tasks, num=2)
    np.testing.assert_array_equal(together["x"][:2], [[-2, -3], [2, 3]])
    np.testing.assert_array_equal(exist, [[True, True], [True, True], [False, False]])
    drawn = replay.sample(memory, tasks, num=50, key=jr.key(0))
    assert drawn["y"].shape == (3, 50, 2)
    for row, values in zip(np.asarray(drawn["x"]), ({-1, -2, -3}, {1, 2, 3}, {0}), strict=True):
        assert set(row.tolist()) == values


def test_first_rounds_are_a_uniform_number_of_whole_rounds():
    memory = ADD(empty(), jnp.array([0]), rows(*map(float, range(5))))
    _, masks = jax.vmap(
        lambda key: replay.first_rounds(memory, jnp.array([0, 1]), rounds=2, num=4, key=key)
    )(jr.split(jr.key(0), 400))
    shown, counts = np.unique(masks[:, 0], axis=0, return_counts=True)
    np.testing.assert_array_equal(shown, [[True, True, False, False], [True] * 4])
    assert scipy.stats.chisquare(counts).pvalue > 1e-3
    assert not masks[:, 1].any()


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="capacity must be positive, got 0"):
        replay.init(jnp.zeros(()), num_tasks=1, capacity=0)
    with pytest.raises(ValueError, match="num_tasks must be positive, got 0"):
        replay.init(jnp.zeros(()), num_tasks=0, capacity=1)
    with pytest.raises(ValueError, match="cannot take 6 items"):
        replay.add(empty(), jnp.array([0]), rows(*map(float, range(6))))
