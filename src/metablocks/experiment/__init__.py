"""The floor with effects: it owns time, files and printing, never the algorithm."""

from metablocks.experiment.cli import main as main
from metablocks.experiment.folder import read_config as read_config
from metablocks.experiment.load import restore_best as restore_best
from metablocks.experiment.presets import RunConfig as RunConfig
from metablocks.experiment.presets import presets as presets
