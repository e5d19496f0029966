"""Off-policy data of training tasks: where every row comes from."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from metablocks.collection import (
    OffPolicyConfig,
    OnPolicyConfig,
    keep_trials,
    new_trials,
    off_policy,
    trial_return,
)
from metablocks.envs.gymnax_tasks import cartpole
from metablocks.envs.point_goal import sparse_semicircle
from metablocks.trees import take
from metablocks.types import Agent

HORIZON, TASKS, EPISODES = 4, 3, 2
SIZES = {
    "num_train_tasks": TASKS, "tasks_per_update": 2, "trial_episodes": EPISODES,
    "context_rows": 6, "capacity": 40, "prior_episodes": 1,
}  # fmt: skip
BENCHMARK = sparse_semicircle(horizon=HORIZON)
# phi counts the transitions it was adapted to, and is the action: the rows say what it was
COUNTING = Agent(
    prior=lambda theta, key: jnp.zeros(2),
    act=lambda theta, phi, now, key: (phi / 1000, {}, phi),
    adapt=lambda theta, phi, trajectories, key: phi + trajectories.reward.size,
)


def told(rows):
    """What tells rows of different tasks apart, although all act alike: how far the goal is."""
    return {float(value) for value in np.asarray(rows.extras["dense_reward"]).ravel()}


def held(replay, task):
    """The rows that a ring holds of a task."""
    num = int(min(replay.added[task], replay.capacity))
    return jax.tree.map(lambda ring: ring[task, :num], replay.items)


def collection(**options):
    return off_policy(COUNTING, BENCHMARK, OffPolicyConfig(**(SIZES | options)))


def test_init_gives_every_task_one_trial_in_which_phi_adapts():
    data = collection().init(None, jr.key(0))
    np.testing.assert_array_equal(data.everything.added, [EPISODES * HORIZON] * TASKS)
    expected = np.repeat([0.0, HORIZON / 1000], HORIZON)
    for task in range(TASKS):
        actions = data.recent.items.action[task, :, 0]
        np.testing.assert_allclose(actions, expected, rtol=1e-6)


def test_collect_adds_a_trial_to_some_tasks_and_leaves_the_others():
    made = collection()
    before = made.init(None, jr.key(0))
    after = made.collect(None, before, jr.key(1))
    added = np.asarray(after.everything.added - before.everything.added)
    assert sorted(added) == [0, EPISODES * HORIZON, EPISODES * HORIZON]
    untouched = int(np.argmin(added))
    for old, new in zip(
        jax.tree.leaves(before.everything.items),
        jax.tree.leaves(after.everything.items),
        strict=True,
    ):
        np.testing.assert_array_equal(old[untouched], new[untouched])


def test_exploration_is_the_same_actions_in_every_task():
    data = collection(explore_episodes=3).init(None, jr.key(0))
    actions = np.asarray(data.explored.items.action)
    assert actions.shape[1] == 3 * HORIZON
    np.testing.assert_array_equal(actions[0], actions[1])
    assert np.abs(actions).max() > 0.1
    means = actions[0].reshape(3, HORIZON, 2).mean(axis=1)
    assert len(np.unique(means.round(3), axis=0)) == 3


def test_an_informed_trial_starts_from_phi_adapted_to_the_exploration():
    made = collection(explore_episodes=3, informed=1.0)
    data = made.collect(None, made.init(None, jr.key(0)), jr.key(1))
    fresh = np.asarray(data.everything.added) > (3 + EPISODES) * HORIZON
    first = np.asarray(data.recent.items.action)[fresh, 0, 0]
    np.testing.assert_allclose(first, EPISODES * HORIZON / 1000, rtol=1e-6)


def test_first_contexts_are_whole_episodes_from_the_trials_start():
    made = collection(context="first")
    data = made.init(None, jr.key(0))
    ids = jnp.zeros(64, jnp.int32)
    rows, mask = made.context(data, ids, jr.key(2))
    lengths = np.asarray(mask.sum(axis=1))
    assert set(lengths) == {HORIZON, 2 * HORIZON}
    np.testing.assert_array_equal(mask, np.arange(2 * HORIZON) < lengths[:, None])
    np.testing.assert_array_equal(rows.action[0], data.recent.items.action[0])


@pytest.mark.parametrize("context", ["recent", "all"])
def test_row_contexts_come_from_where_they_say(context):
    made = collection(context=context, explore_episodes=3)
    data = made.init(None, jr.key(0))
    rows, mask = made.context(data, jnp.arange(TASKS), jr.key(2))
    assert mask.shape == (TASKS, 6) and mask.all()
    source = data.recent if context == "recent" else data.everything
    for task in range(TASKS):
        assert told(take(rows, jnp.array(task))) <= told(held(source, task))
    many, _ = made.context(data, jnp.zeros(64, jnp.int32), jr.key(3))
    assert (told(many) <= told(held(data.recent, 0))) == (context == "recent")


def test_a_batch_is_drawn_from_all_data_of_its_own_task():
    made = collection(explore_episodes=3)
    data = made.init(None, jr.key(0))
    rows = made.batch(data, jnp.array([2, 0]), 200, jr.key(1))
    assert rows.reward.shape == (2, 200)
    for row, task in enumerate((2, 0)):
        assert told(take(rows, jnp.array(row))) == told(held(data.everything, task))
    assert not told(take(rows, jnp.array(0))) <= told(held(data.recent, 2))


def test_a_share_of_contexts_is_exploration():
    made = collection(context="first", explore_episodes=3, explored_context=1.0)
    data = made.init(None, jr.key(0))
    rows, mask = made.context(data, jnp.arange(TASKS), jr.key(2))
    assert mask.all()
    for task in range(TASKS):
        assert told(take(rows, jnp.array(task))) <= told(held(data.explored, task))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"tasks_per_update": 4}, "tasks_per_update"),
        ({"informed": 1.5}, "informed"),
        ({"explored_context": 0.5}, "explore_episodes"),
        ({"capacity": 7}, "capacity"),
        ({"informed": 0.5, "explore_episodes": 2, "prior_episodes": 2}, "set prior_episodes to 1"),
    ],
)
def test_bad_numbers_are_named(options, named):
    with pytest.raises(ValueError, match=named):
        collection(**options)


@pytest.mark.parametrize(
    ("meta_batch", "minibatches", "said"),
    [(6, 4, "meta_batch got 6, expected a multiple of minibatches"),
     (4, 0, "minibatches got 0, expected at least 1"),
     (0, 4, "meta_batch got 0, expected at least 1")],
)  # fmt: skip
def test_an_update_s_trials_are_shared_out_into_minibatches(meta_batch, minibatches, said):
    with pytest.raises(ValueError, match=said):
        OnPolicyConfig(meta_batch=meta_batch, minibatches=minibatches)


def test_what_follows_an_early_end_is_not_live_and_earns_no_return():
    """A pole that is only ever pushed to one side falls: later steps of the slot are another's."""
    horizon, tasks = 40, 3
    pushing = Agent(
        lambda theta, key: None,
        lambda theta, phi, now, key: (jnp.int32(1), {}, phi),
        lambda theta, phi, trajectories, key: phi,
    )
    cfg = OnPolicyConfig(meta_batch=tasks, minibatches=1, trial_episodes=2)
    made = new_trials(pushing, cartpole(horizon=horizon), cfg, None, jr.key(0))
    live = made.extras["live"].reshape(tasks, 2, horizon)
    ended = np.asarray(made.terminated.reshape(tasks, 2, horizon))
    lengths = 1 + ended.argmax(axis=2)
    assert (lengths < horizon).all()
    np.testing.assert_array_equal(live, np.arange(horizon) < lengths[..., None])
    assert trial_return(made) == pytest.approx(lengths.sum(axis=1).mean())
    assert keep_trials(None, made, capacity=tasks).added.tolist() == [tasks]
    with pytest.raises(
        ValueError, match=f"at least the {tasks} trials.*got {tasks - 1}.*meta_batch"
    ):
        keep_trials(None, made, capacity=tasks - 1)
