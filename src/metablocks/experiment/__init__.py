"""The floor with effects: it owns time, files and printing, never the algorithm."""

from metablocks.experiment.cli import main as main
from metablocks.experiment.load import restore_best as restore_best
