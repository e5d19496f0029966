"""Parameters: networks as pytrees of arrays, called on one item."""

from metablocks.nets.actor_critic import ActorCritic as ActorCritic
from metablocks.nets.actor_critic import SoftActorCritic as SoftActorCritic
from metablocks.nets.associative import AssociativeMemory as AssociativeMemory
from metablocks.nets.critics import TwinCritic as TwinCritic
from metablocks.nets.decoders import DECODERS as DECODERS
from metablocks.nets.decoders import ArmDecoder as ArmDecoder
from metablocks.nets.decoders import CellDecoder as CellDecoder
from metablocks.nets.decoders import RewardDecoder as RewardDecoder
from metablocks.nets.decoders import TaskDecoder as TaskDecoder
from metablocks.nets.decoders import TransitionDecoder as TransitionDecoder
from metablocks.nets.features import action_vector as action_vector
from metablocks.nets.features import step_features as step_features
from metablocks.nets.mlp import MLP as MLP
from metablocks.nets.policies import NormalPolicy as NormalPolicy
from metablocks.nets.policies import TanhNormalPolicy as TanhNormalPolicy
from metablocks.nets.recurrent import GRU as GRU
from metablocks.nets.recurrent import RecurrentActorCritic as RecurrentActorCritic
