"""Equations: losses and returns for one transition or one trajectory, never reduced."""

from metablocks.losses.bottleneck import bottleneck_loss as bottleneck_loss
from metablocks.losses.elbo import kl_chain as kl_chain
from metablocks.losses.elbo import reconstruction_loss as reconstruction_loss
from metablocks.losses.policy_gradient import adaptive_coef as adaptive_coef
from metablocks.losses.policy_gradient import policy_gradient_loss as policy_gradient_loss
from metablocks.losses.policy_gradient import ppo_clip_loss as ppo_clip_loss
from metablocks.losses.policy_gradient import standardised as standardised
from metablocks.losses.policy_gradient import value_loss as value_loss
from metablocks.losses.returns import credited_rewards as credited_rewards
from metablocks.losses.returns import discounted_returns as discounted_returns
from metablocks.losses.returns import discounts as discounts
from metablocks.losses.returns import generalised_advantages as generalised_advantages
from metablocks.losses.returns import without_gaps as without_gaps
from metablocks.losses.soft_actor_critic import critic_loss as critic_loss
from metablocks.losses.soft_actor_critic import policy_loss as policy_loss
from metablocks.losses.soft_actor_critic import sac_losses as sac_losses
from metablocks.losses.soft_actor_critic import soft_value as soft_value
from metablocks.losses.soft_actor_critic import temperature_loss as temperature_loss
from metablocks.losses.surrogate import dice_loss as dice_loss
from metablocks.losses.surrogate import importance_ratio as importance_ratio
from metablocks.losses.surrogate import likelihood_ratio_loss as likelihood_ratio_loss
from metablocks.losses.surrogate import lvc_loss as lvc_loss
from metablocks.losses.surrogate import magic_box as magic_box
from metablocks.losses.surrogate import sampling_credit_loss as sampling_credit_loss
