"""The floors: what may import what, and what may be said where. Read from the source with ast."""

import ast
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "metablocks"
FLOORS = {
    "ranges": 0,
    "types": 0,
    "trees": 0,
    "dists": 1,
    "losses": 1,
    "replay": 1,
    "baselines": 1,
    "ppo": 2,
    "outer": 2,
    "nets": 2,
    "oracles": 3,
    "envs": 2,
    "encoders": 3,
    "adapters": 5,
    "exploration": 3,
    "rollout": 4,
    "evaluate": 5,
    "collection": 6,
    "laws": 7,
    "experiment": 7,
}
"""Every module and package right under src/metablocks, and the floor it stands on."""
EXPERIMENT_FLOOR = 7
MAX_SOURCE_LINES = 250
MAX_RECIPE_LINES = 120
FORBIDDEN_IN_EXPERIMENT = {"policy", "buffer", "gradient"}

SOURCES = sorted(PACKAGE.rglob("*.py"))
RECIPES = sorted((ROOT / "recipes").glob("*.py"))
COMPOSITIONS = sorted(
    path
    for path in (ROOT / "tests" / "compositions").glob("*.py")
    if not path.name.startswith("test_")
)


def room(path):
    """The module or package right under src/metablocks that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def tree_of(source):
    return ast.parse(source.read_text() if isinstance(source, Path) else source)


def imports(source, package="metablocks"):
    """The dotted names a file imports, `from a import b` as `a.b`; relative ones from `package`."""
    for node in ast.walk(tree_of(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            start = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def names(source):
    """Every identifier a file writes, with its line: variables, attributes, arguments, imports."""
    for node in ast.walk(tree_of(source)):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Name):
            yield node.id, line
        elif isinstance(node, ast.Attribute):
            yield node.attr, line
        elif isinstance(node, (ast.arg, ast.keyword)) and node.arg:
            yield node.arg, line
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name, line
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for alias in node.names:
                yield from ((part, line) for part in alias.name.split("."))


def words(name):
    """The words of snake_case and CapWords: `MyPolicy_net` is my, policy, net."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)}


def upward_imports(own, source, package="metablocks"):
    """What a file of the room `own` imports from its own floor or a higher one."""
    for name in imports(source, package):
        parts = name.split(".")
        if parts[0] != "metablocks" or (len(parts) > 1 and parts[1] == own):
            continue
        # the package itself imports nothing (tested below), so that it is under every floor
        if len(parts) > 1 and FLOORS.get(parts[1], 99) >= FLOORS[own]:
            yield name


def effects(own, source):
    """`jit`, `print` and `open` where they may not be."""
    for name, line in names(source):
        compiles = "jit" in words(name) and FLOORS[own] < EXPERIMENT_FLOOR
        if compiles or (name in ("print", "open") and own != "experiment"):
            yield f"line {line}: {name}"


def algorithm_words(source):
    for name, line in names(source):
        if words(name) & FORBIDDEN_IN_EXPERIMENT:
            yield f"line {line}: {name}"


def code_lines(path):
    """Lines on which code starts, without comments, blank lines and string statements."""
    layout = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
        tokenize.ENCODING,
    }
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    lines = {token.start[0] for token in tokens if token.type not in layout}
    for node in ast.walk(tree_of(path)):
        constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if constant and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, node.end_lineno + 1))
    return len(lines)


def named(paths):
    return pytest.mark.parametrize(
        "path", paths, ids=[str(path.relative_to(ROOT)) for path in paths]
    )


MODULES = named([path for path in SOURCES if room(path) in FLOORS])


def test_every_module_has_a_floor():
    homeless = sorted({room(path) for path in SOURCES} - set(FLOORS) - {"__init__"})
    assert not homeless, (
        f"{', '.join(homeless)}: give each a floor in FLOORS of {Path(__file__).name}, one above "
        "the highest floor that it imports from; if it needs two floors, split it"
    )


def test_the_package_itself_imports_nothing_of_its_own():
    own = [name for name in imports(PACKAGE / "__init__.py") if name.startswith("metablocks")]
    assert not own, f"metablocks/__init__.py imports {own}: every command would pay for it"


@MODULES
def test_imports_go_down(path):
    package = ".".join(("metablocks", *path.relative_to(PACKAGE).parts[:-1]))
    upward = list(upward_imports(room(path), path, package))
    assert not upward, (
        f"{path.relative_to(ROOT)} stands on floor {FLOORS[room(path)]} and imports {upward}: "
        "only strictly lower floors and its own package are allowed; move one of the two"
    )


@MODULES
def test_effects_stay_on_their_floor(path):
    found = list(effects(room(path), path))
    assert not found, (
        f"{path.relative_to(ROOT)} has {found}: compiling, printing and files belong to "
        "metablocks.experiment (the caller compiles)"
    )


@named([path for path in SOURCES if room(path) == "experiment"])
def test_the_experiment_floor_knows_no_algorithm(path):
    found = list(algorithm_words(path))
    assert not found, f"{path.relative_to(ROOT)} has {found}: it owns time, never the algorithm"


@named(SOURCES)
def test_source_files_are_short(path):
    count = len(path.read_text().splitlines())
    assert count <= MAX_SOURCE_LINES, (
        f"{path.relative_to(ROOT)} has {count} lines, more than {MAX_SOURCE_LINES}: split it"
    )


@named(RECIPES)
def test_recipes_are_short_and_import_no_recipe(path):
    others = {recipe.stem for recipe in RECIPES} | {"recipes"}
    siblings = [name for name in imports(path) if name.split(".")[0] in others]
    assert not siblings, f"{path.name} imports {siblings}: a recipe wires blocks, not recipes"
    count = code_lines(path)
    assert count <= MAX_RECIPE_LINES, (
        f"{path.name} has {count} lines of code, more than {MAX_RECIPE_LINES}: what stands in a "
        "third recipe becomes a verb of the package"
    )


@named(COMPOSITIONS)
def test_compositions_are_short_and_of_public_blocks(path):
    private = [
        name for name in imports(path) if "._" in name or name.startswith(("recipes", "tests"))
    ]
    assert not private, f"{path.name} imports {private}: a composition shows the public blocks"
    assert code_lines(path) <= MAX_RECIPE_LINES


def test_there_is_something_to_check():
    assert len(SOURCES) > 20 and {"types", "experiment"} <= {room(path) for path in SOURCES}


# --- each rule bites ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "source"),
    [
        ("dists", "from metablocks.rollout import rollout"),
        ("losses", "import metablocks.dists"),
        ("exploration", "from metablocks import evaluate"),
        ("rollout", "def f():\n    from metablocks.experiment import run"),
        ("types", "from .rollout import rollout"),
        ("types", "from . import trees"),
        ("nets", "from metablocks.unheard_of import x"),
        ("laws", "from metablocks.experiment import main"),
    ],
)
def test_an_upward_import_is_found(own, source):
    assert list(upward_imports(own, source))


def test_a_downward_import_is_allowed():
    source = "import jax\nfrom metablocks import types\nfrom metablocks.losses.returns import x"
    assert not list(upward_imports("rollout", source))
    assert not list(upward_imports("envs", "from .base import x", "metablocks.envs.physics"))


@pytest.mark.parametrize(
    "source",
    [
        "jax.jit(f)",
        "from jax import jit",
        "@eqx.filter_jit\ndef f(): ...",
        "jax.debug.print('x')",
        "print(1)",
        "open('x')",
        "path.open()",
        "f = print",
    ],
)
def test_an_effect_is_found(source):
    assert list(effects("nets", source))
    assert not list(effects("experiment", source))
    assert not list(effects("nets", "is_open = blueprint(x); jitter = 1; '''open, print, jit'''"))


def test_an_algorithm_word_is_found():
    for source in ("policy = 1", "f(buffer_size=3)", "class PolicyRun: ...", "x.gradient"):
        assert list(algorithm_words(source)), source
    assert not list(algorithm_words("'''the policy'''\npolicymaker = gradients_ = 1"))


def test_code_lines_leave_out_what_is_not_code(tmp_path):
    path = tmp_path / "recipe.py"
    path.write_text(
        '"""Two\nlines."""\n\n# comment\nx = 1  # code\n"""of a field"""\ny = (\n  2\n)\n'
    )
    assert code_lines(path) == 4
