"""The multilayer perceptron under every other network."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float

from metablocks.types import Key


class MLP(eqx.Module):
    """Linear layers with a nonlinearity between them; the leaves are arrays only.

    Args:
        in_size: the input's length.
        out_size: the output's length.
        hidden: the width of every hidden layer, e.g. (300, 300, 300).
        activation: between layers; the output is linear.

    Raises:
        ValueError: a layer has no width; called on an input of another length.
    """

    layers: tuple[eqx.nn.Linear, ...]
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        hidden: tuple[int, ...],
        *,
        key: Key,
        activation: Callable[[Array], Array] = jax.nn.relu,
    ):
        sizes = (in_size, *hidden, out_size)
        if min(sizes) < 1:
            raise ValueError(f"every layer needs a positive width, got {sizes}")
        keys = jr.split(key, len(sizes) - 1)
        self.layers = tuple(
            eqx.nn.Linear(fan_in, fan_out, key=key)
            for fan_in, fan_out, key in zip(sizes[:-1], sizes[1:], keys, strict=True)
        )
        self.activation = activation

    def __call__(self, x: Float[Array, " in_size"]) -> Float[Array, " out_size"]:
        expected = self.layers[0].in_features
        if x.shape != (expected,):
            raise ValueError(f"the network reads {expected} numbers, got shape {x.shape}")
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


def glorot(mlp: MLP, *, key: Key) -> MLP:
    """The same network with weights U[-b, b], b^2 = 6 / (fan in + fan out), and no biases.

    Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html.
    """
    draw, keys = jax.nn.initializers.glorot_uniform(), jr.split(key, len(mlp.layers))
    weights = [draw(k, layer.weight.shape) for k, layer in zip(keys, mlp.layers, strict=True)]
    mlp = eqx.tree_at(lambda net: [layer.weight for layer in net.layers], mlp, weights)
    biases = lambda net: [layer.bias for layer in net.layers]
    return eqx.tree_at(biases, mlp, replace_fn=jnp.zeros_like)
