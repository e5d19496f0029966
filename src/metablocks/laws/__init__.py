"""Laws: property-based checks to run on your own blocks.

    from metablocks import laws

    def test_my_encoder():
        laws.encoder_is_permutation_invariant(MyEncoder(...), context_size=5)

Each draws seeds and small choices with hypothesis (the same ones every time) and returns nothing,
or raises an AssertionError that shows the law, the inputs that break it and its two sides.
"""

from metablocks.laws.adapters import adapter_gradient_is_exact as adapter_gradient_is_exact
from metablocks.laws.adapters import adapter_unroll_equals_steps as adapter_unroll_equals_steps
from metablocks.laws.agents import agent_preserves_structure as agent_preserves_structure
from metablocks.laws.distributions import kl_equals_monte_carlo as kl_equals_monte_carlo
from metablocks.laws.distributions import kl_is_a_divergence as kl_is_a_divergence
from metablocks.laws.encoders import (
    encoder_ignores_masked_rows as encoder_ignores_masked_rows,
)
from metablocks.laws.encoders import (
    encoder_is_permutation_invariant as encoder_is_permutation_invariant,
)
from metablocks.laws.encoders import (
    encoder_running_equals_batch as encoder_running_equals_batch,
)
from metablocks.laws.encoders import (
    encoder_without_data_is_the_prior as encoder_without_data_is_the_prior,
)
from metablocks.laws.learners import learner_is_traced_once as learner_is_traced_once
from metablocks.laws.learners import learner_resumes_exactly as learner_resumes_exactly
from metablocks.laws.learners import learner_scan_equals_loop as learner_scan_equals_loop
from metablocks.laws.learners import learner_vmap_equals_separate as learner_vmap_equals_separate
from metablocks.laws.simulators import physics_is_pure as physics_is_pure
from metablocks.laws.simulators import physics_vmap_equals_loop as physics_vmap_equals_loop
from metablocks.laws.tasks import (
    task_is_constant_across_resets as task_is_constant_across_resets,
)
