"""One suite for every engine: what a `Physics` must do, measured against MuJoCo's C code."""

import copy
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import mujoco
import numpy as np
import pytest

from metablocks.envs.half_cheetah import Cheetah, HalfCheetah, run_along
from metablocks.envs.physics import Physics, PhysicsState, make_physics
from metablocks.envs.physics.base import load_model

MODEL, FRAME_SKIP, BATCH = "half_cheetah", 5, 4
# a solver cut so short that the result depends on the warm start; and MJX compiles it sooner
LIMITS = {"iterations": 1, "ls_iterations": 4}
GIVEN = ("body_mass", "body_inertia", "geom_friction", "dof_damping")


class Engine(NamedTuple):
    physics: Physics
    step: object
    """jit(vmap(physics.step)); always called with BATCH rows, because MJX compiles for 13 s."""
    tolerance: float
    exact: bool
    """Whether a simulation's result is the same bit for bit in any batch."""


ENGINES = {
    "native": ({"engine": "native"}, 3e-7, True),
    "mjx-jax": ({"engine": "mjx", "impl": "jax"}, 1e-4, False),
}
if importlib.util.find_spec("warp"):
    ENGINES["mjx-warp"] = ({"engine": "mjx", "impl": "warp"}, 1e-4, False)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request) -> Engine:
    options, tolerance, exact = ENGINES[request.param]
    physics = make_physics(MODEL, frame_skip=FRAME_SKIP, **options, **LIMITS)
    return Engine(physics, jax.jit(jax.vmap(physics.step)), tolerance, exact)


@pytest.fixture(scope="module")
def native() -> Physics:
    return make_physics(MODEL, frame_skip=FRAME_SKIP, engine="native")


@pytest.fixture(scope="module")
def model() -> mujoco.MjModel:
    return load_model(MODEL, **LIMITS)


@pytest.fixture(scope="module")
def grounded(model) -> tuple[PhysicsState, jax.Array]:
    """States [BATCH] a second after a fall, with feet on the ground, and controls for them."""
    rng = np.random.default_rng(0)
    states, contacts = [], []
    for _ in range(BATCH):
        data = mujoco.MjData(model)
        data.qpos[:] = rng.uniform(-0.1, 0.1, model.nq)
        for _ in range(100):
            data.ctrl[:] = rng.uniform(-0.3, 0.3, model.nu)
            mujoco.mj_step(model, data)
        parts = (data.qpos, data.qvel, data.act, data.qacc_warmstart, data.sensordata)
        states.append([np.array(part, np.float32) for part in parts])
        contacts.append(data.ncon)
    assert min(contacts) > 0
    state = PhysicsState(*(jnp.zeros(part.shape) for part in states[0]))
    leaves = [jnp.stack(rows) for rows in zip(*states, strict=True)]
    state = jax.tree.unflatten(jax.tree.structure(state), leaves)
    return state, jnp.asarray(rng.uniform(-1, 1, (BATCH, model.nu)), jnp.float32)


@pytest.fixture(scope="module")
def tasks(model, native) -> dict[str, jax.Array]:
    """Overrides [BATCH], complete; the first row is the XML's own model."""
    rng = np.random.default_rng(1)

    def scaled(values: np.ndarray) -> jax.Array:
        scale = np.exp(rng.uniform(-0.4, 0.4, (BATCH, *values.shape)))
        scale[0] = 1.0
        return jnp.asarray(values * scale, jnp.float32)

    return jax.vmap(native.derive)({name: scaled(getattr(model, name)) for name in GIVEN})


def with_field(state: PhysicsState, name: str, value: jax.Array) -> PhysicsState:
    return eqx.tree_at(lambda state: getattr(state, name), state, value)


def row(tree, index: int):
    return jax.tree.map(lambda leaf: leaf[index], tree)


def in_c(model, state: PhysicsState, ctrl, overrides):
    """One simulation's next (qpos, qvel, warm start) by `mj_step` in a Python loop."""
    model = _copy_with(model, overrides)
    data = mujoco.MjData(model)
    data.qpos[:], data.qvel[:] = np.asarray(state.qpos), np.asarray(state.qvel)
    data.qacc_warmstart[:], data.ctrl[:] = np.asarray(state.warmstart), np.asarray(ctrl)
    for _ in range(FRAME_SKIP):
        mujoco.mj_step(model, data)
    return data.qpos, data.qvel, data.qacc_warmstart


def _copy_with(model, overrides):
    """A copy of the model with the given fields, and what `mj_setConst` makes of them."""
    model = copy.copy(model)
    for name in GIVEN:
        getattr(model, name)[:] = np.asarray(overrides[name])
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


def assert_same(left: PhysicsState, right: PhysicsState, engine: Engine) -> None:
    for name in ("qpos", "qvel", "warmstart"):
        a, b = np.asarray(getattr(left, name)), np.asarray(getattr(right, name))
        if engine.exact:
            np.testing.assert_array_equal(a, b, err_msg=name)
        else:
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3, err_msg=name)


def assert_like_c(engine, model, before, ctrl, overrides, after) -> None:
    for index in range(BATCH):
        qpos, qvel, warm = in_c(model, row(before, index), ctrl[index], row(overrides, index))
        result, tolerance = row(after, index), engine.tolerance
        np.testing.assert_allclose(result.qpos, qpos, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(result.qvel, qvel, rtol=tolerance, atol=10 * tolerance)
        if engine.exact:
            np.testing.assert_allclose(result.warmstart, warm, rtol=tolerance, atol=1e-4)


def test_a_step_is_mujocos_with_overrides_per_row(engine, model, grounded, tasks):
    state, ctrl = grounded
    after = engine.step(state, ctrl, tasks)
    assert_like_c(engine, model, state, ctrl, tasks, after)
    # the tasks are far enough apart for the comparison to tell one row's model from another's
    plain = engine.step(state, ctrl, jax.tree.map(lambda x: jnp.broadcast_to(x[0], x.shape), tasks))
    moved = np.abs(np.asarray(after.qvel - plain.qvel)).max(axis=1)
    assert moved[0] == 0 and (moved[1:] > 100 * engine.tolerance).all()


def test_several_control_steps_follow_mujoco(engine, model, grounded, tasks):
    """Through the state alone: warm start and all."""
    state, ctrl = grounded
    for _ in range(3):
        before, state = state, engine.step(state, ctrl, tasks)
        assert_like_c(engine, model, before, ctrl, tasks, state)


def test_the_same_input_gives_the_same_output(engine, grounded, tasks):
    state, ctrl = grounded
    first = engine.step(state, ctrl, tasks)
    engine.step(first, -ctrl, jax.tree.map(lambda x: x[::-1], tasks))
    again = engine.step(state, ctrl, tasks)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_rows_do_not_see_each_other(engine, grounded, tasks):
    """A batch of one row repeated, and the batch backwards, give each row its own result."""
    inputs = (*grounded, tasks)
    whole = engine.step(*inputs)
    backwards = engine.step(*jax.tree.map(lambda x: x[::-1], inputs))
    assert_same(jax.tree.map(lambda x: x[::-1], backwards), whole, engine)
    alone = engine.step(*jax.tree.map(lambda x: jnp.broadcast_to(x[2], x.shape), inputs))
    assert_same(row(alone, 0), row(whole, 2), engine)


def test_the_warm_start_is_in_the_state(engine, model, grounded, tasks):
    """With the solver cut short, where it starts shows in the result."""
    _, ctrl = grounded
    state = engine.step(*grounded, tasks)
    cold = with_field(state, "warmstart", jnp.zeros_like(state.warmstart))
    warm_next, cold_next = engine.step(state, ctrl, tasks), engine.step(cold, ctrl, tasks)
    assert np.abs(np.asarray(warm_next.qvel - cold_next.qvel)).max() > 0.1
    assert_like_c(engine, model, state, ctrl, tasks, warm_next)
    assert_like_c(engine, model, cold, ctrl, tasks, cold_next)


def test_native_is_exact_alone_batched_and_under_a_third_vmap(native, grounded, tasks):
    inputs = (*grounded, tasks)
    whole = jax.vmap(native.step)(*inputs)
    for index in (0, 3):
        one = jax.jit(native.step)(*row(inputs, index))
        jax.tree.map(np.testing.assert_array_equal, one, row(whole, index))
    # in between, other batch sizes and other sets of overrides
    three = jax.tree.map(lambda x: x[:3], inputs)
    jax.vmap(native.step)(*three)
    jax.vmap(lambda state, ctrl: native.step(state, ctrl, {}))(*grounded)
    stacked = jax.tree.map(lambda x: jnp.stack([x, x[::-1]])[:, None].repeat(3, 1), inputs)
    deep = jax.jit(jax.vmap(jax.vmap(jax.vmap(native.step))))(*stacked)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[0, 2], b), deep, whole)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[1, 0], b[::-1]), deep, whole)


def test_native_takes_calls_from_several_threads(native, grounded, tasks):
    """Asynchronous dispatch may run two callbacks at once on simulations of one size."""
    step = jax.jit(jax.vmap(native.step))
    inputs = [(grounded[0], grounded[1] * scale, tasks) for scale in (-1.0, -0.5, 0.5, 1.0)]
    expected = [step(*each) for each in inputs]
    with ThreadPoolExecutor(len(inputs)) as pool:
        results = list(pool.map(lambda each: step(*each), inputs * 50))
    for index, result in enumerate(results):
        jax.tree.map(np.testing.assert_array_equal, result, expected[index % len(inputs)])


def test_native_shares_what_is_not_batched(native, grounded, tasks):
    """One task over many states: `vmap` with in_axes None."""
    state, ctrl = grounded
    task = row(tasks, 1)
    shared = jax.vmap(native.step, (0, 0, None))(state, ctrl, task)
    spread = jax.vmap(native.step)(
        state, ctrl, jax.tree.map(lambda x: jnp.stack([x] * BATCH), task)
    )
    jax.tree.map(np.testing.assert_array_equal, shared, spread)
    empty = jax.vmap(native.step, (0, 0, None))(row(state, slice(0, 0)), ctrl[:0], task)
    assert empty.qpos.shape == (0, native.nq)


@pytest.mark.parametrize(
    ("what", "value"), [("qpos", np.nan), ("qvel", 1e12), ("qvel", 1e8), ("ctrl", np.nan)]
)
def test_native_gives_nan_for_a_failed_simulation_only(
    native, grounded, what, value, capfd, tmp_path, monkeypatch
):
    """1e8 passes MuJoCo's check at the first substep, and diverges in a later one."""
    monkeypatch.chdir(tmp_path)  # where MuJoCo writes MUJOCO_LOG.TXT
    state, ctrl = grounded
    step = jax.vmap(lambda state, ctrl: native.step(state, ctrl, {}))
    whole = step(state, ctrl)
    spoil = lambda x: x.at[1, 2].set(value)
    if what == "ctrl":
        ctrl = spoil(ctrl)
    else:
        state = with_field(state, what, spoil(getattr(state, what)))
    result = step(state, ctrl)
    for after, expected in ((result.qpos, whole.qpos), (result.qvel, whole.qvel)):
        assert np.isnan(after[1]).all()
        np.testing.assert_array_equal(np.delete(after, 1, 0), np.delete(expected, 1, 0))
    # NaN stays NaN, and MuJoCo is not asked about it again: no warning
    capfd.readouterr()
    assert np.isnan(step(result, grounded[1]).qpos[1]).all()
    assert "WARNING" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("value", [np.nan, -1.0])
def test_native_gives_nan_for_a_model_that_cannot_be(
    native, grounded, value, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    state, ctrl = grounded
    mass = jnp.ones((BATCH, 8)).at[2].set(value)
    tasks = jax.vmap(native.derive)({"body_mass": mass})
    assert np.isnan(tasks["dof_invweight0"][2]).any()
    after = jax.vmap(native.step)(state, ctrl, tasks)
    assert np.isnan(after.qpos[2]).all() and np.isfinite(np.delete(after.qpos, 2, 0)).all()


def test_derive_is_mj_set_const(native, model, tasks):
    for index in range(BATCH):
        expected = _copy_with(model, row(tasks, index))
        for name in ("body_subtreemass", "body_invweight0", "dof_invweight0", "dof_M0"):
            np.testing.assert_allclose(tasks[name][index], getattr(expected, name), rtol=1e-6)
    alone = native.derive({"body_mass": tasks["body_mass"][1]})
    assert alone["body_invweight0"].shape == (model.nbody, 2)
    friction = {"geom_friction": tasks["geom_friction"][1]}
    assert native.derive(friction) == friction and native.derive({}) == {}


def test_reset_is_at_rest(engine):
    state = engine.physics.reset(jnp.arange(9.0), jnp.ones(9), {})
    np.testing.assert_array_equal(state.qpos, np.arange(9.0))
    np.testing.assert_array_equal(state.qvel, np.ones(9))
    assert not state.warmstart.any() and state.act.shape == state.sensordata.shape == (0,)
    assert engine.physics.dt == pytest.approx(0.05)


def test_the_goal_never_reaches_the_simulator(native):
    env = HalfCheetah(native, run_along)
    _, start = env.reset(jr.key(0), Cheetah(goal=jnp.array(1.0)))
    action = jnp.linspace(-1, 1, 6)

    def step(goal):
        return env.step_env(jr.key(1), start, action, Cheetah(goal=goal))

    ahead, back = step(jnp.array(1.0)), step(jnp.array(-1.0))
    jax.tree.map(np.testing.assert_array_equal, ahead[:2], back[:2])
    assert ahead[2] != back[2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"engine": "bullet"}, "engine must be one of native, mjx or None, got 'bullet'"),
        ({"engine": "mjx", "impl": "cuda"}, "impl must be one of jax, warp, got 'cuda'"),
        ({"frame_skip": 0}, "frame_skip must be positive, got 0"),
        ({"num_threads": -1}, "num_threads must be positive, or 0"),
        ({"iterations": 0}, "iterations must be positive or None"),
        ({"xml": "half_camel"}, "half_camel must be an .xml file or the name"),
    ],
)
def test_bad_arguments_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        make_physics(**{"xml": MODEL, "frame_skip": 5} | options)


@pytest.mark.skipif("mjx-warp" in ENGINES, reason="warp is installed")
def test_missing_warp_is_named():
    with pytest.raises(ValueError, match="needs NVIDIA Warp"):
        make_physics(MODEL, frame_skip=5, engine="mjx", impl="warp")


def test_unknown_overrides_are_named(engine):
    state = engine.physics.reset(jnp.zeros(9), jnp.zeros(9), {})
    for overrides, words in (
        ({"body_weight": jnp.ones(8)}, "'body_weight' is not one of the fields"),
        ({"body_mass": jnp.ones(7)}, r"'body_mass' must have shape \(8,\), got \(7,\)"),
    ):
        with pytest.raises(ValueError, match=words):
            engine.physics.step(state, jnp.zeros(6), overrides)
        with pytest.raises(ValueError, match=words):
            engine.physics.derive(overrides)
