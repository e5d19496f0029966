"""f_theta as gradient steps."""

from metablocks.adapters.gradient import Adapted as Adapted
from metablocks.adapters.gradient import GradientAdapter as GradientAdapter
from metablocks.adapters.gradient import Part as Part
from metablocks.adapters.gradient import adapted as adapted
from metablocks.adapters.gradient import gradient_adapter as gradient_adapter
from metablocks.adapters.gradient import gradient_agent as gradient_agent
from metablocks.adapters.gradient import part as part
from metablocks.adapters.gradient import unadapted as unadapted
from metablocks.adapters.latent import LatentLaw as LatentLaw
from metablocks.adapters.latent import held as held
from metablocks.adapters.latent import latent_agent as latent_agent
from metablocks.adapters.latent import latent_loss as latent_loss
from metablocks.adapters.latent import standard_latent as standard_latent
from metablocks.adapters.policy_gradient import AdaptationConfig as AdaptationConfig
from metablocks.adapters.policy_gradient import MetaPolicy as MetaPolicy
from metablocks.adapters.policy_gradient import log_probs as log_probs
from metablocks.adapters.policy_gradient import meta_policy as meta_policy
from metablocks.adapters.policy_gradient import new_policy as new_policy
from metablocks.adapters.policy_gradient import outer_rows as outer_rows
from metablocks.adapters.policy_gradient import over_steps as over_steps
from metablocks.adapters.policy_gradient import policies as policies
from metablocks.adapters.policy_gradient import policy_gradient_adapter as policy_gradient_adapter
from metablocks.adapters.policy_gradient import policy_gradient_agent as policy_gradient_agent
from metablocks.adapters.policy_gradient import surrogates as surrogates
from metablocks.adapters.policy_gradient import with_advantages as with_advantages
from metablocks.adapters.step_sizes import StepSizes as StepSizes
