"""Checkpoints are whole or passed over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metablocks.experiment import checkpoint
from metablocks.experiment.errors import UserError

TREE = {
    "matrix": jnp.arange(6.0).reshape(2, 3),
    "half": jnp.ones(3, jnp.bfloat16) * 1.5,
    "nothing": jnp.zeros((0, 4)),
    "flag": jnp.array([True, False]),
    "counter": (jnp.int32(7), jnp.uint8(3)),
}


def changed(path):
    """Some byte of the arrays' own file is another."""
    file = max((path / "arrays").rglob("d/*"), key=lambda f: f.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def truncated(path):
    file = max((path / "arrays").rglob("d/*"), key=lambda f: f.stat().st_size)
    file.write_bytes(file.read_bytes()[:-5])


def unsigned(path):
    (path / "manifest.json").unlink()


def test_a_restored_tree_is_the_saved_one(tmp_path):
    checkpoint.save(tmp_path, 3, TREE, {"note": 1.5}, keep=2)
    tree, meta = checkpoint.restore(tmp_path, jax.eval_shape(lambda: TREE))
    assert meta["note"] == 1.5
    assert jax.tree.structure(tree) == jax.tree.structure(TREE)
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(TREE), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def test_the_newest_are_kept(tmp_path):
    assert checkpoint.restore(tmp_path, TREE) is None
    for update in (0, 9, 10):
        checkpoint.save(tmp_path, update, TREE, {}, keep=2)
    assert checkpoint.updates(tmp_path) == [10, 9]


@pytest.mark.parametrize("damage", [changed, truncated, unsigned])
def test_a_damaged_one_is_passed_over_with_a_warning(tmp_path, capsys, damage):
    for update in (1, 2):
        checkpoint.save(tmp_path, update, TREE, {"update": update}, keep=2)
    damage(tmp_path / "2")
    _, meta = checkpoint.restore(tmp_path, TREE)
    assert meta["update"] == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "warning" in line and str(tmp_path / "2") in line
    damage(tmp_path / "1")
    with pytest.raises(UserError, match="every checkpoint is damaged"):
        checkpoint.restore(tmp_path, TREE)


def test_a_save_that_was_cut_short_is_not_seen(tmp_path):
    checkpoint.save(tmp_path, 1, TREE, {"update": 1}, keep=2)
    (tmp_path / "2.tmp" / "arrays").mkdir(parents=True)
    assert checkpoint.restore(tmp_path, TREE)[1]["update"] == 1
    checkpoint.save(tmp_path, 2, TREE, {}, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "2"]


@pytest.mark.parametrize(
    "other",
    [TREE | {"matrix": jnp.zeros((3, 3))}, TREE | {"more": jnp.zeros(1)}, {"flag": TREE["flag"]}],
)
def test_another_state_is_refused_in_one_line(tmp_path, other):
    checkpoint.save(tmp_path, 1, TREE, {}, keep=2)
    with pytest.raises(UserError, match="does not fit") as failure:
        checkpoint.restore(tmp_path, other)
    assert "\n" not in str(failure.value)


def test_a_key_in_the_state_is_refused(tmp_path):
    with pytest.raises(TypeError, match=r"State\['key'\] is a PRNG key"):
        checkpoint.describe({"key": jax.random.key(0)})
