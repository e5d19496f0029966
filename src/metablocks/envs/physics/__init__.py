"""Physics engines behind one interface: MuJoCo's C code, or MJX."""

from pathlib import Path

from metablocks.envs.physics.base import Physics as Physics
from metablocks.envs.physics.base import PhysicsState as PhysicsState
from metablocks.envs.physics.base import default_engine, load_model

ENGINES = ("native", "mjx")


def make_physics(
    xml: str | Path,
    *,
    frame_skip: int,
    engine: str | None = None,
    impl: str = "jax",
    iterations: int | None = None,
    ls_iterations: int | None = None,
    num_threads: int = 0,
) -> Physics:
    """An engine on a model: an .xml file, or the name of one of gymnasium's ("half_cheetah").

    Args:
        frame_skip: simulator steps per control step.
        engine: "native" (MuJoCo's C code on the CPU) or "mjx"; None picks native where JAX runs
            on the CPU and MJX elsewhere.
        impl: of MJX, "jax" on any device or "warp" on NVIDIA's.
        iterations, ls_iterations: limits of the constraint solver and of its line search; None
            is as in the XML. With few of them MJX is several times faster and less exact.
        num_threads: of the native engine; 0 is every CPU.

    Raises:
        ValueError: an argument is out of range; the message names what is allowed.
    """
    engine = default_engine() if engine is None else engine
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(ENGINES)} or None, got {engine!r}")
    if frame_skip < 1:
        raise ValueError(f"frame_skip must be positive, got {frame_skip}")
    if num_threads < 0:
        raise ValueError(f"num_threads must be positive, or 0 for every CPU, got {num_threads}")
    model = load_model(xml, iterations=iterations, ls_iterations=ls_iterations)
    # imported here because MJX adds a second to a command's start
    if engine == "native":
        from metablocks.envs.physics.native import native_physics

        return native_physics(model, frame_skip=frame_skip, num_threads=num_threads)
    from metablocks.envs.physics.mjx import mjx_physics

    return mjx_physics(model, frame_skip=frame_skip, impl=impl)
