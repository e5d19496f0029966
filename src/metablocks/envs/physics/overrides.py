"""Which model fields a task may override, and the constants MuJoCo derives from them."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Float
from mujoco.batch import Batch, SimulationError

from metablocks.envs.physics.base import Overrides

INERTIAL = ("body_mass", "body_inertia", "dof_armature", "actuator_gear")
"""Fields from which `mj_setConst` derives others."""
DERIVED = ("body_subtreemass", "body_invweight0", "dof_invweight0", "dof_M0", "actuator_acc0")
"""What it derives from those, as far as the dynamics of one step reads it."""
PLAIN = (
    "geom_friction",
    "geom_solref",
    "geom_solimp",
    "dof_damping",
    "jnt_stiffness",
    "jnt_range",
    "jnt_solref",
    "jnt_solimp",
    "qpos_spring",
    "actuator_gainprm",
    "actuator_biasprm",
    "actuator_ctrlrange",
    "actuator_forcerange",
    "opt.gravity",
)
"""Fields that a step reads as they are.

Fields that change the geometry (body_pos, geom_size, ...) are in neither list: collision bounds
and the flags by which MuJoCo skips work follow from them at compile time.
"""


def field(model: mujoco.MjModel, name: str) -> np.ndarray:
    """The model's value of a field; `opt.` leads to MuJoCo's options."""
    return getattr(model.opt, name[4:]) if name.startswith("opt.") else getattr(model, name)


def check_overrides(model: mujoco.MjModel, overrides: Overrides) -> None:
    """Raises ValueError for a field that no task may override, or one of the wrong shape."""
    for name, value in overrides.items():
        if name not in INERTIAL + DERIVED + PLAIN:
            known = ", ".join(INERTIAL + PLAIN)
            raise ValueError(f"override {name!r} is not one of the fields a task may set: {known}")
        expected = field(model, name).shape
        if jnp.shape(value) != expected:
            raise ValueError(
                f"override {name!r} must have shape {expected}, got {jnp.shape(value)}"
            )


def make_derive(model: mujoco.MjModel) -> Callable[[Overrides], Overrides]:
    """`Physics.derive`: MuJoCo's own `mj_setConst` on the host, once per task.

    Fields that nothing is derived from pass through, and so does an empty dict. A derived field
    that is given is replaced. A model that cannot be, such as one with a negative mass, gets NaN
    among its constants, and so does every step on it.
    """
    shapes = {name: field(model, name).shape for name in DERIVED}

    def derive(overrides: Overrides) -> Overrides:
        check_overrides(model, overrides)
        given = {name: overrides[name] for name in INERTIAL if name in overrides}
        if not given:
            return overrides
        result = {name: jax.ShapeDtypeStruct(shapes[name], jnp.float32) for name in DERIVED}
        given = {name: jnp.asarray(value, jnp.float32) for name, value in given.items()}
        constants = jax.pure_callback(host, result, given, vmap_method="broadcast_all")
        return overrides | constants

    def host(
        given: dict[str, Float[Array | np.ndarray, "..."]],
    ) -> dict[str, Float[np.ndarray, "..."]]:
        name, values = next(iter(given.items()))
        leading = values.shape[: values.ndim - field(model, name).ndim]
        batch = Batch(model, math.prod(leading))
        for name, values in given.items():
            expanded = batch.expand(name)
            expanded[...] = np.asarray(values).reshape(expanded.shape)
        failed = np.zeros(batch.nsim, bool)
        try:
            batch.set_const()
        except SimulationError as error:
            failed[error.ids] = True
        constants = {}
        for name, shape in shapes.items():
            rows = batch.expand(name).astype(np.float32)
            rows[failed] = np.nan
            constants[name] = rows.reshape(*leading, *shape)
        return constants

    return derive
