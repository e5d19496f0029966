"""phi = f_theta(D) by inference: encoders of a context into a law over latent tasks."""

from metablocks.encoders.context import context_row as context_row
from metablocks.encoders.product import ProductEncoder as ProductEncoder
from metablocks.encoders.recurrent import RecurrentEncoder as RecurrentEncoder
