"""Agents whose behaviour is what makes the data D worth having."""

from metablocks.exploration.belief_state import BeliefState as BeliefState
from metablocks.exploration.belief_state import belief_agent as belief_agent
from metablocks.exploration.held_action import held_action as held_action
from metablocks.exploration.posterior_sampling import Belief as Belief
from metablocks.exploration.posterior_sampling import posterior_sampling as posterior_sampling
