"""Recipes are files, not a package: what loads one for its tests."""

import importlib.util
import sys
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(scope="session")
def load():
    """recipe name -> its module."""

    def loaded(name):
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, RECIPES / f"{name}.py")
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        return sys.modules[name]

    return loaded
