"""A recipe's numbers: what Python and TOML may give, by the same rules as the command line."""

import dataclasses
from typing import Literal

import pytest

from metablocks.experiment import RunConfig, presets
from metablocks.ranges import Ranged


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blocks(Ranged):
    shots: int = 20
    embed_size: int = 0
    lr: float = 1e-3
    kind: Literal["one", "two"] = "one"

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
        ({"shots": 13}, "shots is 13"),
    ],
)
def test_a_config_that_python_builds_is_held_to_the_same_ranges(numbers, said):
    with pytest.raises(ValueError, match=said):
        Config(**numbers)


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
