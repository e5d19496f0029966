"""A recipe's numbers: what Python and TOML may give, by the same rules as the command line."""

import dataclasses
import json
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metablocks.adapters import AdaptationConfig
from metablocks.collection import OffPolicyConfig, OnPolicyConfig, RoundsConfig
from metablocks.experiment import RunConfig, presets
from metablocks.outer import OuterChoice, OuterConfig
from metablocks.ppo import PPOConfig
from metablocks.ranges import Ranged


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blocks(Ranged):
    shots: int = 20
    embed_size: int = 0
    lr: float = 1e-3
    kind: Literal["one", "two"] = "one"
    level: Literal[1, 2] = 1

    def __post_init__(self):
        super().__post_init__()
        if self.shots == 13:
            raise ValueError("shots is 13")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig, Blocks):
    gamma: float = 0.9


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"shots": 0}, "shots got 0, expected at least 1"),
        ({"num_updates": -1}, "num_updates got -1, expected at least 1"),
        ({"embed_size": -1}, "embed_size got -1, expected 0 or more"),
        ({"lr": -1.0}, "lr got -1.0, expected 0 or more"),
        ({"gamma": 1.1}, "gamma got 1.1, expected a number from 0 to 1"),
        ({"kind": "three"}, "kind got 'three', expected one of one, two"),
        ({"shots": 2.5}, "shots got 2.5, expected a whole number"),
        ({"shots": True}, "shots got True, expected a whole number"),
        ({"gamma": "much"}, "gamma got 'much', expected a number"),
        ({"lr": None}, "lr got None, expected a number"),
        ({"lr": float("inf")}, "lr got inf, expected a finite number"),
        ({"lr": 10**400}, "expected a finite number"),
        ({"level": True}, "level got True, expected one of 1, 2"),
        ({"level": 1.0}, "level got 1.0, expected one of 1, 2"),
        ({"shots": 13}, "shots is 13"),
    ],
)
def test_a_config_that_python_builds_is_held_to_the_same_ranges(numbers, said):
    with pytest.raises(ValueError, match=said):
        Config(**numbers)


@pytest.mark.parametrize(
    ("config", "bad"),
    [
        (OffPolicyConfig, {"trial_episodes": 0}),
        (OnPolicyConfig, {"trial_episodes": 0}),
        (RoundsConfig, {"shots": 0}),
        (AdaptationConfig, {"inner_lr": 0.0}),
        (OuterConfig, {"lr": -1.0}),
        (OuterChoice, {"radius": 0.0}),
        (PPOConfig, {"gamma": 2.0}),
    ],
    ids=str,
)
def test_the_numbers_of_every_block_are_held_to_ranges(config, bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} got .* expected"):
        config(**bad)


def test_numbers_are_python_s_own_and_of_the_field_s_type():
    """A TOML `lr = 1` is a step size of 1.0; arrays of no dimensions can be recorded."""
    cfg = Config(lr=1, gamma=np.float64(0.5), shots=jnp.int32(3))
    kinds = [(type(x), x) for x in (cfg.lr, cfg.gamma, cfg.shots)]
    assert kinds == [(float, 1.0), (float, 0.5), (int, 3)]
    assert json.loads(json.dumps(dataclasses.asdict(cfg)))["shots"] == 3
    for bad, said in (
        (jnp.float32(-1), r"lr got -1\.0"),
        (np.ones((9, 9)), r"an array of shape \(9, 9\), expected a number"),
    ):
        with pytest.raises(ValueError, match=said):
            Config(lr=bad)


def test_fields_of_other_types_stay_as_they_are():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Goals(Ranged):
        goals: Any = None

    given = np.ones(())
    assert Goals(goals=given).goals is given


def test_vmap_goes_over_a_number():
    sizes = jnp.array([1e-3, 1e-2])
    assert (jax.vmap(lambda lr: 2 * Config(lr=lr, gamma=1).lr)(sizes) == 2 * sizes).all()


def test_a_count_that_is_zero_by_default_may_be_zero():
    assert Config(embed_size=0, shots=1).embed_size == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [("gamma = 2.0", "gamma got 2.0, expected a number from 0 to 1"),
     ("gama = 0.9", "got an unexpected keyword argument 'gama'")],
)  # fmt: skip
def test_a_bad_preset_names_the_file_the_table_and_the_number(tmp_path, capsys, line, said):
    (tmp_path / "bad.toml").write_text(f"[a]\nshots = 5\n[b]\n{line}\n")
    with pytest.raises(SystemExit) as stop:
        presets(Config, str(tmp_path / "bad.py"))
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert f"bad.toml, [b]: {said}" in error and error.count("\n") == 1


def test_good_presets_are_read(tmp_path):
    (tmp_path / "good.toml").write_text("[a]\nshots = 5\n")
    assert presets(Config, str(tmp_path / "good.py")) == {"a": Config(shots=5)}
