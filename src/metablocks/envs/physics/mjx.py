"""MJX: the simulator as JAX operations, on any device."""

import importlib.util

import jax
import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Float
from mujoco import mjx

from metablocks.envs.physics.base import Overrides, Physics, PhysicsState, make_reset
from metablocks.envs.physics.overrides import check_overrides, make_derive

IMPLS = ("jax", "warp")


def mjx_physics(model: mujoco.MjModel, *, frame_skip: int, impl: str = "jax") -> Physics:
    """The engine as XLA operations (`impl="jax"`) or as NVIDIA Warp's kernels (`impl="warp"`).

    Raises:
        ValueError: an unknown `impl`, or Warp is not installed.
    """
    if impl not in IMPLS:
        raise ValueError(f"impl must be one of {', '.join(IMPLS)}, got {impl!r}")
    if impl == "warp" and importlib.util.find_spec("warp") is None:
        raise ValueError('impl "warp" needs NVIDIA Warp: pip install "metablocks[warp]", or "jax"')
    device_model = mjx.put_model(model, impl=impl)
    blank = mjx.make_data(model, impl=impl)

    def step(state: PhysicsState, ctrl: Float[Array, " nu"], overrides: Overrides) -> PhysicsState:
        check_overrides(model, overrides)
        task_model = device_model.tree_replace(dict(overrides))

        def substep(state: PhysicsState, _: None) -> tuple[PhysicsState, None]:
            data = blank.replace(
                qpos=state.qpos,
                qvel=state.qvel,
                act=state.act,
                qacc_warmstart=state.warmstart,
                ctrl=ctrl,
            )
            data = mjx.step(task_model, data)
            parts = (data.qpos, data.qvel, data.act, data.qacc_warmstart, data.sensordata)
            return PhysicsState(*(jnp.asarray(part, jnp.float32) for part in parts)), None

        # a GPU's TF32 keeps ten bits of a float32: the solver does not converge on that
        with jax.default_matmul_precision("highest"):
            state, _ = jax.lax.scan(substep, state, None, length=frame_skip)
        return state

    return Physics(
        reset=make_reset(model),
        step=step,
        derive=make_derive(model),
        dt=float(model.opt.timestep) * frame_skip,
        nq=model.nq,
        nv=model.nv,
        nu=model.nu,
    )
