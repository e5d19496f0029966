"""What every test shares: compiled programs kept between runs, and the same examples every time."""

import os
from pathlib import Path

FLAGS = "--xla_cpu_use_fusion_emitters=false"  # compiles three times as fast
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}".strip()

import hypothesis  # noqa: E402
import jax  # noqa: E402

CACHE = Path(__file__).parents[1] / ".cache" / "jax"

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # also in the processes that tests start
jax.config.update("jax_disable_most_optimizations", True)  # tiny shapes: compiling takes the time

hypothesis.settings.register_profile("metablocks", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("metablocks")
