"""A recipe's numbers: what Python and TOML may give, by the same rules as the command line."""

import dataclasses
from typing import Literal

import pytest

from metablocks.experiment import RunConfig, presets


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blocks:
    shots: int = 20
    embed_size: int = 0
    lr: float = 1e-3
    kind: Literal["one", "two"] = "one"

    def __post_init__(self):
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
        ({"kind": "three"}, "kind got three, expected one of one, two"),
        ({"shots": 13}, "shots is 13"),
    ],
)
def test_a_config_that_python_builds_is_held_to_the_same_ranges(numbers, said):
    with pytest.raises(ValueError, match=said):
        Config(**numbers)


def test_a_count_that_is_zero_by_default_may_be_zero():
    assert Config(embed_size=0, shots=1).embed_size == 0


def test_a_preset_out_of_range_names_the_file_and_the_number(tmp_path):
    (tmp_path / "bad.toml").write_text("[a]\nshots = 5\n[b]\ngamma = 2.0\n")
    with pytest.raises(SystemExit, match=r"bad\.toml: gamma got 2\.0, expected a number from 0"):
        presets(Config, str(tmp_path / "bad.py"))
    (tmp_path / "good.toml").write_text("[a]\nshots = 5\n")
    assert presets(Config, str(tmp_path / "good.py")) == {"a": Config(shots=5)}
