import json
import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """The programs of these tests are compiled once a session, away from the user's cache."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("jax")))


@pytest.fixture
def metrics():
    """A run folder's lines, without what the clock says."""

    def read(folder):
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [{k: v for k, v in line.items() if k != "wall_s"} for line in lines]

    return read
