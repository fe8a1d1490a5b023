"""What the six distributions declare: a star around axonax-tensor, pins, files, entry points."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
GROUND = "axonax-tensor"
FOUR = ("axonax-functional", "axonax-graph", "axonax-loop", "axonax-optim")
FIVE = (*FOUR, GROUND)
SIX = (*FIVE, "axonax")


def project(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / "packages" / name / "pyproject.toml").read_text())["project"]


def dependencies(name: str) -> dict[str, str]:
    """Version specifier by name of the run-time dependency."""
    found = [re.fullmatch(r"([\w-]+)(.*)", line) for line in project(name)["dependencies"]]
    return {match[1]: match[2] for match in found if match}


def version(name: str) -> str:
    declared = project(name)
    if "version" in declared:
        return declared["version"]
    (path,) = (ROOT / "packages" / name / "src" / "axonax").glob("*/_version.py")
    return re.search(r'__version__ = "(.+)"', path.read_text())[1]


def entry_points() -> list[EntryPoint]:
    return [
        EntryPoint(name, value, group)
        for package in FIVE
        for group, names in project(package).get("entry-points", {}).items()
        for name, value in names.items()
    ]


def test_every_package_is_known_here():
    assert sorted(path.parent.name for path in (ROOT / "packages").glob("*/pyproject.toml")) == sorted(SIX)


@pytest.mark.parametrize("name", FOUR)
def test_the_four_depend_on_tensor_and_on_no_sibling(name):
    assert [each for each in dependencies(name) if each.startswith("axonax")] == [GROUND]


def test_tensor_depends_on_nothing_of_ours():
    assert not [each for each in dependencies(GROUND) if each.startswith("axonax")]


def test_the_meta_package_depends_on_the_five_alone():
    assert sorted(dependencies("axonax")) == sorted(FIVE)


@pytest.mark.parametrize("name", SIX)
def test_pins_of_ours_admit_the_version_in_the_checkout(name):
    pins = {each: pin for each, pin in dependencies(name).items() if each.startswith("axonax")}
    for each, pin in pins.items():
        major, minor = (int(number) for number in version(each).split(".")[:2])
        assert pin == f">={major}.{minor},<{major}.{minor + 1}", each


@pytest.mark.parametrize("name", FIVE)
def test_every_third_party_dependency_has_a_floor(name):
    assert all(re.match(r">=\d", pin) for pin in dependencies(name).values())


@pytest.mark.parametrize("name", FIVE)
def test_few_dependencies(name):
    assert len(dependencies(name)) <= 4


@pytest.mark.parametrize("name", SIX)
def test_common_metadata(name):
    declared = project(name)
    assert declared["name"] == name
    assert declared["requires-python"] == ">=3.11"
    assert declared["license"] == "Apache-2.0"
    assert declared["readme"] == "README.md"


@pytest.mark.parametrize("name", SIX)
def test_files_that_every_distribution_carries(name):
    package = ROOT / "packages" / name
    assert not (package / "LICENSE").is_symlink(), "a symlink breaks building from the sdist"
    assert (package / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert f"pip install {name}" in (package / "README.md").read_text()
    assert f"\n## {version(name)}\n" in (package / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", FIVE)
def test_a_part_ships_one_typed_portion_of_the_namespace(name):
    namespace = ROOT / "packages" / name / "src" / "axonax"
    part = name.removeprefix("axonax-")
    assert [path.name for path in namespace.iterdir() if path.name != "__pycache__"] == [part]
    assert (namespace / part / "py.typed").read_text() == ""


def test_versions_are_releases():
    """0.2.0.dev0 satisfies neither >=0.2 nor <0.2, so it fits no pin."""
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version(name)) for name in SIX)


@pytest.mark.parametrize("entry", entry_points(), ids=lambda entry: f"{entry.group}:{entry.name}")
def test_entry_points_resolve(entry):
    assert callable(entry.load())


def test_entry_points_are_grouped_by_what_they_offer():
    assert {entry.group for entry in entry_points()} <= {
        "axonax.losses",
        "axonax.metrics",
        "axonax.optimizers",
    }
