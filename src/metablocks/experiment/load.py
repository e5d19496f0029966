"""Reading a run folder's best meta-parameters back."""

import os
from pathlib import Path

import jax

from metablocks.types import Learner, Theta


def restore_best(
    run_dir: str | os.PathLike, learner: Learner, *, seed_index: int | None = None
) -> Theta:
    """The theta with the highest return of the last adaptation episode, from a run's `best/`.

    Args:
        run_dir: the run's folder.
        learner: `make(cfg)[0]` with the run's config.
        seed_index: which of the run's seeds, from 0; without it, a run of several gives all of
            them on a leading axis.

    Raises:
        FileNotFoundError: the run has saved none.
        UserError: the folder is no run's, or what it saved is damaged or another learner's.
        ValueError: the run has no such seed.
    """
    from metablocks.experiment import checkpoint
    from metablocks.experiment.folder import read_config
    from metablocks.experiment.program import shapes

    path = Path(run_dir)
    seeds = read_config(path)["seeds"]
    if seed_index is not None and not 0 <= seed_index < seeds:
        raise ValueError(
            f"seed_index got {seed_index}, expected 0 to {seeds - 1}: {path} has {seeds}"
        )
    like = shapes(learner, seeds).state.theta
    found = checkpoint.restore(path / "best", like)
    if found is None:
        raise FileNotFoundError(
            f"{path / 'best'}: no theta was saved (records under results/ keep none)"
        )
    if seeds == 1 or seed_index is None:
        return found[0]
    return jax.tree.map(lambda leaf: leaf[seed_index], found[0])
