"""Checkpoints that are whole or absent: orbax for the arrays, a checksum of every file beside them.

    <root>/<update>/arrays/         orbax: the leaves of a pytree, by number
    <root>/<update>/meta.json       the caller's notes, and each leaf's path, shape and dtype
    <root>/<update>/manifest.json   sha256 of every other file

A checkpoint is written under another name and renamed when it is complete, so a kill leaves either
the old ones or the old ones and the new. A pytree holds arrays only: typed PRNG keys are refused.
"""

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path, tree_unflatten

from metablocks.experiment.errors import UserError, warn
from metablocks.experiment.folder import updates, write_json


def describe(tree: Any) -> list[list]:
    """Each leaf's path, shape and dtype: what two checkpoints must agree in to fit each other."""
    leaves = []
    for path, leaf in tree_flatten_with_path(tree)[0]:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise TypeError(f"State{keystr(path)} is a PRNG key: keys come from the update's index")
        leaves.append([keystr(path), list(leaf.shape), str(leaf.dtype)])
    return leaves


def save(root: Path, update: int, tree: Any, meta: dict[str, Any], *, keep: int) -> Path:
    """Writes `tree` and `meta` as `<root>/<update>` and drops all but the newest `keep`."""
    import orbax.checkpoint as ocp

    quiet()
    final, draft = root / str(update), root / f"{update}.tmp"
    for leftover in root.glob("*.tmp"):
        shutil.rmtree(leftover)
    draft.mkdir(parents=True)
    leaves = jax.device_get(jax.tree.leaves(tree))
    # Orbax cannot store arrays of no elements, and there is nothing in them to store.
    arrays = {f"{i:05d}": np.asarray(leaf) for i, leaf in enumerate(leaves) if np.size(leaf)}
    with ocp.PyTreeCheckpointer() as writer:
        writer.save((draft / "arrays").absolute(), arrays)
    write_json(draft / "meta.json", {"leaves": describe(tree), **meta})
    write_json(draft / "manifest.json", digests(draft))
    sync(draft)
    if final.exists():
        shutil.rmtree(final)
    draft.replace(final)
    sync(root)
    for old in updates(root)[keep:]:
        shutil.rmtree(root / str(old))
    return final


def restore(root: Path, like: Any) -> tuple[Any, dict[str, Any]] | None:
    """The newest checkpoint that is whole, as a pytree shaped like `like`; None if there is none.

    A damaged one is passed over with a warning; if every one is damaged, or the newest whole one
    does not fit `like`, that is a `UserError`.
    """
    found = updates(root)
    for update in found:
        reason = damage(root / str(update))
        if reason is None:
            return read(root / str(update), like)
        warn(f"checkpoint {root / str(update)} is damaged ({reason}): it is passed over")
    if found:
        raise UserError(
            f"{root}: every checkpoint is damaged (updates {found}); restore one from a backup "
            "or start a new run"
        )
    return None


def read(path: Path, like: Any) -> tuple[Any, dict[str, Any]]:
    """A whole checkpoint as a pytree, with its notes."""
    import orbax.checkpoint as ocp

    quiet()
    meta = json.loads((path / "meta.json").read_text())
    shapes, treedef = jax.tree.flatten(like)
    for found, wanted in zip(meta["leaves"], describe(like), strict=False):
        if found != wanted:
            raise misfit(path, found, wanted)
    if len(meta["leaves"]) != len(shapes):
        raise misfit(path, f"{len(meta['leaves'])} arrays", len(shapes))
    kinds = {
        f"{i:05d}": ocp.RestoreArgs(restore_type=np.ndarray)
        for i, leaf in enumerate(shapes)
        if leaf.size
    }
    with ocp.PyTreeCheckpointer() as reader:
        arrays = reader.restore((path / "arrays").absolute(), restore_args=kinds)
    leaves = [
        jnp.asarray(arrays[f"{i:05d}"]) if leaf.size else jnp.zeros(leaf.shape, leaf.dtype)
        for i, leaf in enumerate(shapes)
    ]
    return tree_unflatten(treedef, leaves), meta


def misfit(path: Path, found: Any, wanted: Any) -> UserError:
    """The checkpoint is of a program with another state."""
    return UserError(
        f"{path}: the checkpoint does not fit this recipe and its numbers: it holds {found}, "
        f"expected {wanted}; resume with the code that wrote it, or start a new run"
    )


def digests(path: Path) -> dict[str, str]:
    """sha256 of every file of a checkpoint but the manifest."""
    sums = {}
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.name != "manifest.json":
            with file.open("rb") as content:
                sums[str(file.relative_to(path))] = hashlib.file_digest(
                    content, "sha256"
                ).hexdigest()
    return sums


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        actual = digests(path)
    except (OSError, ValueError) as error:
        return f"manifest.json: {type(error).__name__}"
    for name, digest in manifest.items():
        if name not in actual:
            return f"{name} is missing"
        if actual[name] != digest:
            return f"{name} has changed"
    return None


def sync(path: Path) -> None:
    """Waits until a folder's names are on the disk, where the system can say so."""
    try:
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
    except OSError:  # some file systems refuse to sync a folder
        return


def quiet() -> None:
    """Orbax logs every step of a save; what a user must know, the run says itself."""
    logging.getLogger("absl").setLevel(logging.ERROR)
