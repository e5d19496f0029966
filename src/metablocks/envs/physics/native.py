"""MuJoCo's C engine on the host's CPU cores, behind one callback."""

import functools
import threading
from collections.abc import Callable

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Float
from mujoco.batch import Batch, SimulationError

from metablocks.envs.physics.base import Overrides, Physics, PhysicsState, make_reset
from metablocks.envs.physics.overrides import check_overrides, field, make_derive


def native_physics(model: mujoco.MjModel, *, frame_skip: int, num_threads: int = 0) -> Physics:
    """The engine on `num_threads` threads (0: every CPU).

    Every leading axis that `vmap` adds becomes one batch, so a rollout costs one callback per
    control step however many tasks and seeds it runs. Results are float32 of MuJoCo's float64,
    bit for bit the same alone and in any batch.
    """
    run = _Simulations(model, frame_skip, num_threads)
    sizes = (model.nq, model.nv, model.na, model.nv, model.nsensordata)

    def step(state: PhysicsState, ctrl: Float[Array, " nu"], overrides: Overrides) -> PhysicsState:
        check_overrides(model, overrides)
        names = tuple(sorted(overrides))
        # one array in and one out: what a callback costs grows with their number
        parts = [state.qpos, state.qvel, state.act, state.warmstart, ctrl]
        row = jnp.concatenate(parts + [jnp.ravel(overrides[name]) for name in names])
        result = jax.ShapeDtypeStruct((sum(sizes),), jnp.float32)
        row = jax.pure_callback(
            functools.partial(run, names),
            result,
            row.astype(jnp.float32),
            vmap_method="broadcast_all",
        )
        return PhysicsState(*jnp.split(row, np.cumsum(sizes)[:-1]))

    return Physics(
        reset=make_reset(model),
        step=step,
        derive=make_derive(model),
        dt=float(model.opt.timestep) * frame_skip,
        nq=model.nq,
        nv=model.nv,
        nu=model.nu,
    )


class _Simulations:
    """The host's side: numpy in, numpy out, nothing of JAX and nothing raised.

    A JAX call inside a callback can deadlock, and what JAX does with an exception from one is
    undefined; so a simulation that fails is a row of NaN.
    """

    def __init__(self, model: mujoco.MjModel, frame_skip: int, num_threads: int):
        self.model, self.frame_skip, self.num_threads = model, frame_skip, num_threads
        self.batches: dict[tuple[int, tuple[str, ...]], Callable[[np.ndarray], np.ndarray]] = {}
        # with asynchronous dispatch, two callbacks can run at once
        self.lock = threading.Lock()

    def __call__(
        self, names: tuple[str, ...], rows: Float[Array | np.ndarray, "*batch width"]
    ) -> Float[np.ndarray, "*batch next_width"]:
        """Rows [..., qpos | qvel | act | warm start | ctrl | overrides by name] -> next states."""
        rows = np.asarray(rows)
        flat = rows.reshape(-1, rows.shape[-1])
        key = (len(flat), names)
        with self.lock:
            if key not in self.batches:
                self.batches[key] = _stepper(
                    self.model, *key, frame_skip=self.frame_skip, num_threads=self.num_threads
                )
            result = self.batches[key](flat)
        return result.reshape(*rows.shape[:-1], result.shape[-1])


def _stepper(
    model: mujoco.MjModel,
    count: int,
    names: tuple[str, ...],
    *,
    frame_skip: int,
    num_threads: int,
) -> Callable[[np.ndarray], np.ndarray]:
    """`count` simulations with their own values of the fields `names`, kept between calls."""
    batch = Batch(model, count, num_threads)
    state = [batch.bind(name) for name in ("qpos", "qvel", "act", "qacc_warmstart")]
    inputs = [*state, batch.bind("ctrl"), *(batch.expand(name) for name in names)]
    inputs = [array.reshape(count, -1) for array in inputs]
    outputs = [*state, *([batch.bind("sensordata")] if model.nsensordata else [])]
    ends = np.cumsum([array.shape[1] for array in inputs])
    columns = [slice(*ends_) for ends_ in zip([0, *ends[:-1]], ends, strict=True)]
    still = _at_rest(model, names)
    clock, warnings = batch.bind("time"), batch.warning

    def step(rows: np.ndarray) -> np.ndarray:
        # MuJoCo would reset a simulation that comes in bad, and write to ./MUJOCO_LOG.TXT
        bad = ~(np.abs(rows) < mujoco.mjMAXVAL).all(axis=1)
        if bad.any():
            rows = np.where(bad[:, None], still, rows)
        for array, columns_ in zip(inputs, columns, strict=True):
            array[...] = rows[:, columns_]
        clock[...] = 0.0
        warnings[...] = 0
        try:
            batch.step(nstep=frame_skip)
        except SimulationError as error:
            bad[error.ids] = True
        # it warns where it reset a simulation that diverged, or left contacts out
        bad |= warnings[:, :, 1].any(axis=1)
        result = np.concatenate(outputs, axis=1, dtype=np.float32, casting="same_kind")
        result[bad] = np.nan
        return result

    return step


def _at_rest(model: mujoco.MjModel, names: tuple[str, ...]) -> np.ndarray:
    """A row that cannot fail, to stand in for one that would."""
    zeros = np.zeros(2 * model.nv + model.na + model.nu)
    return np.concatenate([model.qpos0, zeros, *(field(model, name).ravel() for name in names)])
