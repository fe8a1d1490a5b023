"""Every optimizer is offered by name, as a factory whose learning rate has a default."""

import inspect
import tomllib
from pathlib import Path

import pytest

from axonax import optim

SETTINGS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
POINTS = SETTINGS["project"]["entry-points"]["axonax.optimizers"]


@pytest.mark.parametrize("name", POINTS)
def test_an_optimizer_by_name(name):
    module, attribute = POINTS[name].split(":")
    assert (module, attribute) == ("axonax.optim", name)
    first, *others = inspect.signature(getattr(optim, name)).parameters.values()
    assert first.name == "learning_rate"
    assert first.default is not inspect.Parameter.empty
    assert all(each.kind is inspect.Parameter.KEYWORD_ONLY for each in others)


def test_how_many_there_are():
    assert len(POINTS) == 27
