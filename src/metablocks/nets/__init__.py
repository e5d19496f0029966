"""Parameters: networks as pytrees of arrays, called on one item."""

from metablocks.nets.actor_critic import SoftActorCritic as SoftActorCritic
from metablocks.nets.critics import TwinCritic as TwinCritic
from metablocks.nets.decoders import TransitionDecoder as TransitionDecoder
from metablocks.nets.mlp import MLP as MLP
from metablocks.nets.policies import TanhNormalPolicy as TanhNormalPolicy
from metablocks.nets.recurrent import GRU as GRU
from metablocks.nets.recurrent import RecurrentActorCritic as RecurrentActorCritic
