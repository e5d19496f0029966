"""What every physics engine is: its state, its three functions, the model it reads."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import mujoco
from jaxtyping import Array, Float

Overrides = dict[str, Array]
"""Model fields of one task, by MuJoCo's name; may be empty."""


class PhysicsState(eqx.Module):
    """The whole state of one simulation: two equal states have equal futures.

    The warm start is part of it, because the constraint solver's result depends, within its
    tolerance, on where the solver starts. As after `mj_step`, `sensordata` describes the state
    before the last substep; after a reset it is zero.
    """

    qpos: Float[Array, " nq"]
    qvel: Float[Array, " nv"]
    act: Float[Array, " na"]
    warmstart: Float[Array, " nv"]
    sensordata: Float[Array, " sensors"]


class Physics(NamedTuple):
    """One engine on one model: pure functions of one simulation, `vmap` for more.

    A simulation that fails gives NaN, and goes on giving NaN until it is reset.
    """

    reset: Callable[[Float[Array, " nq"], Float[Array, " nv"], Overrides], PhysicsState]
    """State at (qpos, qvel), at rest otherwise; computes no forward pass."""
    step: Callable[[PhysicsState, Float[Array, " nu"], Overrides], PhysicsState]
    """One control interval: `frame_skip` steps of the simulator with the controls held."""
    derive: Callable[[Overrides], Overrides]
    """Overrides completed by the constants that MuJoCo derives from them; once per task."""
    dt: float
    """The control interval in seconds."""
    nq: int
    nv: int
    nu: int


def load_model(
    xml: str | Path, *, iterations: int | None = None, ls_iterations: int | None = None
) -> mujoco.MjModel:
    """The model in an XML file, or one of gymnasium's standard models by name ("half_cheetah").

    `iterations` and `ls_iterations` replace the constraint solver's limits of the XML.

    Raises:
        ValueError: there is no such file or model, a limit is not positive, or the model has
            state that `PhysicsState` does not hold.
    """
    for name, limit in (("iterations", iterations), ("ls_iterations", ls_iterations)):
        if limit is not None and limit < 1:
            raise ValueError(f"{name} must be positive or None (as in the XML), got {limit}")
    model = _read(_locate(xml))
    hidden = ("nmocap", "npluginstate", "nuserdata", "nhistory")
    extra = [name for name in hidden if getattr(model, name)]
    if extra:
        raise ValueError(f"{xml} has state that PhysicsState does not hold: {', '.join(extra)}")
    if iterations is not None:
        model.opt.iterations = iterations
    if ls_iterations is not None:
        model.opt.ls_iterations = ls_iterations
    return model


def make_reset(
    model: mujoco.MjModel,
) -> Callable[[Float[Array, " nq"], Float[Array, " nv"], Overrides], PhysicsState]:
    """`Physics.reset`: the same for every engine, because nothing is simulated."""
    nv, na, sensors = model.nv, model.na, model.nsensordata

    def reset(
        qpos: Float[Array, " nq"], qvel: Float[Array, " nv"], overrides: Overrides
    ) -> PhysicsState:
        del overrides
        return PhysicsState(
            qpos=jnp.asarray(qpos, jnp.float32),
            qvel=jnp.asarray(qvel, jnp.float32),
            act=jnp.zeros(na),
            warmstart=jnp.zeros(nv),
            sensordata=jnp.zeros(sensors),
        )

    return reset


def default_engine() -> str:
    """MuJoCo's own C code where JAX runs on the CPU, MJX on any accelerator."""
    return "native" if jax.default_backend() == "cpu" else "mjx"


def _locate(xml: str | Path) -> Path:
    if Path(xml).suffix == ".xml":
        path = Path(xml)
    else:
        # not `import gymnasium`, which costs a second
        spec = importlib.util.find_spec("gymnasium")
        if spec is None or spec.origin is None:
            raise ValueError(f"{xml} is one of gymnasium's models: pip install gymnasium")
        path = Path(spec.origin).parent / "envs" / "mujoco" / "assets" / f"{xml}.xml"
    if not path.is_file():
        raise ValueError(f"{xml} must be an .xml file or the name of a gymnasium model: no {path}")
    return path


def _read(path: Path) -> mujoco.MjModel:
    """Compile the XML, without the warnings that MuJoCo would append to ./MUJOCO_LOG.TXT.

    (gymnasium's half_cheetah.xml uses the deprecated compiler attribute `settotalmass`.)
    """
    previous = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        return mujoco.MjModel.from_xml_path(str(path))
    finally:
        mujoco.set_mju_user_warning(previous)
