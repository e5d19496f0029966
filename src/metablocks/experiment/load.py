"""Reading a run folder's best meta-parameters back."""

import os
from pathlib import Path

from metablocks.types import Learner, Theta


def restore_best(run_dir: str | os.PathLike, learner: Learner) -> Theta:
    """The theta with the highest return of the last adaptation episode, from a run's `best/`.

    `learner` is `make(cfg)[0]` with the run's config. A run of several seeds gives a leading seed
    axis.

    Raises:
        FileNotFoundError: the run has saved none.
        UserError: the folder is no run's, or what it saved is damaged or another learner's.
    """
    from metablocks.experiment import checkpoint
    from metablocks.experiment.folder import read_config
    from metablocks.experiment.program import shapes

    path = Path(run_dir)
    like = shapes(learner, read_config(path)["seeds"]).state.theta
    found = checkpoint.restore(path / "best", like)
    if found is None:
        raise FileNotFoundError(
            f"{path / 'best'}: no theta was saved (records under results/ keep none)"
        )
    return found[0]
