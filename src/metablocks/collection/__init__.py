"""Data for meta-training: trials of new tasks, or what is kept of a fixed set of them."""

from metablocks.collection.off_policy import Collection as Collection
from metablocks.collection.off_policy import OffPolicyConfig as OffPolicyConfig
from metablocks.collection.off_policy import TaskData as TaskData
from metablocks.collection.off_policy import off_policy as off_policy
from metablocks.collection.on_policy import OnPolicyConfig as OnPolicyConfig
from metablocks.collection.on_policy import draw_trials as draw_trials
from metablocks.collection.on_policy import keep_trials as keep_trials
from metablocks.collection.on_policy import new_trials as new_trials
from metablocks.collection.on_policy import trial_return as trial_return
from metablocks.collection.rounds import RoundsConfig as RoundsConfig
from metablocks.collection.rounds import new_rounds as new_rounds
from metablocks.collection.rounds import round_returns as round_returns
from metablocks.collection.rounds import rounds_of as rounds_of
