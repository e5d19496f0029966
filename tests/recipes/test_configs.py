"""The recipes' Configs: what they say of their own numbers."""

from typing import get_type_hints

import pytest

from metablocks.ranges import expected


@pytest.mark.parametrize(
    ("name", "number"),
    [("maml", "epochs"), ("maml", "dice_decay"), ("maesn", "radius"), ("pearl", "kl_coef")],
)
def test_what_has_no_effect_is_said_in_words_that_the_config_knows(load, name, number):
    kind = load(name).Config
    kinds = get_type_hints(kind)
    assert number in kind.only
    for one, (choice, value) in kind.only.items():
        assert one in kinds and expected(choice, value, kinds[choice]) is None
