"""The limits of the house, read off the sources: sizes, borders, the shape of a package."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "packages").glob("*/src/axonax/**/*.py"))
TESTS = sorted((ROOT / "packages").glob("*/tests/**/*.py"))
FOUR = {"functional", "graph", "optim", "loop"}
# rich is slow to import, and only a bar that shows needs it
LATE = {"axonax.loop.handlers", "axonax.loop.handlers._bar"}
OPTIONAL = {"matplotlib", "orbax", "tensorboard", "tensorboardX", "wandb", "mlflow", "pandas"}
MODULE_LINES, BODY_LINES, PARAMETERS = 400, 40, 7


def short(path: Path) -> str:
    return str(path.relative_to(ROOT / "packages"))


def own_part(path: Path) -> str:
    return path.relative_to(ROOT / "packages").parts[0].removeprefix("axonax-")


def imported(node: ast.AST) -> Iterator[str]:
    """Dotted names that one import statement may load."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        yield node.module or ""
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def dotted(path: Path) -> str:
    """The module's full name; a package's ``__init__`` has the package's."""
    names = path.with_suffix("").parts[path.parts.index("src") + 1 :]
    return ".".join(names).removesuffix(".__init__")


def in_circles(arrows: dict[str, set[str]]) -> set[str]:
    """The modules that reach themselves."""

    def reach(start: str) -> set[str]:
        found: set[str] = set()
        pending = [start]
        while pending:
            fresh = arrows.get(pending.pop(), set()) - found
            found |= fresh
            pending.extend(fresh)
        return found

    return {module for module in arrows if module in reach(module)}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def body_lines(function: ast.FunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_there_are_sources():
    assert {own_part(path) for path in SOURCES} == {*FOUR, "tensor"}


def test_the_namespace_has_no_init():
    """One axonax/__init__.py in any distribution hides every other."""
    assert not list((ROOT / "packages").glob("*/src/axonax/__init__.py"))


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_a_module_has_at_most_400_lines(path):
    assert path.read_text().count("\n") <= MODULE_LINES, "two concepts? make it two modules"


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=short)
def test_no_sibling_is_imported(path):
    tree = parsed(path)
    parts = [name.split(".") for node in ast.walk(tree) for name in imported(node)]
    siblings = FOUR - {own_part(path)}
    assert not [".".join(each) for each in parts if each[0] == "axonax" and each[1:2] and each[1] in siblings]


@pytest.mark.parametrize("part", sorted({own_part(path) for path in SOURCES}))
def test_imports_inside_a_part_point_one_way(part):
    """Imports for annotations count: a reader follows them too. Tables of contents import what they list."""
    modules = {
        dotted(path): path for path in SOURCES if own_part(path) == part and path.name != "__init__.py"
    }
    arrows = {
        module: {name for node in ast.walk(parsed(path)) for name in imported(node)} & modules.keys()
        for module, path in modules.items()
    }
    assert not in_circles(arrows)


def test_a_circle_is_seen():
    assert in_circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {"b", "c"}


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_function_bodies_have_at_most_40_lines(path):
    long = {each.name: body_lines(each) for each in functions(parsed(path))}
    assert not {name: lines for name, lines in long.items() if lines > BODY_LINES}


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_functions_have_at_most_7_positional_parameters(path):
    tree = parsed(path)
    counts = {each.name: len(each.args.posonlyargs) + len(each.args.args) for each in functions(tree)}
    assert not {name: count for name, count in counts.items() if count > PARAMETERS}


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_only_optional_dependencies_are_imported_inside_functions(path):
    hidden = [
        name for function in functions(parsed(path)) for node in ast.walk(function) for name in imported(node)
    ]
    assert not [name for name in hidden if name.split(".")[0] not in OPTIONAL and name not in LATE]


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name == "__init__.py"], ids=short)
def test_an_init_is_a_table_of_contents(path):
    tree = parsed(path)
    assert ast.get_docstring(tree), "a newcomer reads this first"
    assert all(isinstance(node, (ast.Import, ast.ImportFrom, ast.Assign)) for node in tree.body[1:])


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_no_unfinished_work(path):
    assert not [word for word in ("TODO", "FIXME", "XXX") if word in path.read_text()]
