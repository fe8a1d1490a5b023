"""What an option is when it is left out: Optax's default, but for those that are listed here."""

import inspect
import tomllib
from pathlib import Path

import optax
import pytest
from optax import contrib

from axonax import optim

SETTINGS = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
NAMES = sorted(SETTINGS["project"]["entry-points"]["axonax.optimizers"])
RATES = {
    **{"adabelief": 0.001, "adadelta": 1.0, "adafactor": 0.01, "adagrad": 0.001, "adam": 0.001},
    **{"adamax": 0.002, "adamw": 0.001, "adan": 0.001, "fromage": 0.01, "lamb": 0.01, "lars": 0.1},
    **{"lbfgs": 1.0, "lion": 0.0001, "muon": 0.02, "nadam": 0.001, "nadamw": 0.001, "noisy_sgd": 0.01},
    **{
        "novograd": 0.01,
        "prodigy": 1.0,
        "radam": 0.001,
        "rmsprop": 0.01,
        "sam": 0.01,
        "schedule_free": 0.0025,
    },
    **{"sgd": 0.01, "soap": 0.003, "sophia": 0.0001, "yogi": 0.01},
}
OTHERWISE = {
    "adabelief": {"eps": 0.0},
    "adam": {"eps_root": 1e-15},
    "adamw": {"eps_root": 1e-15, "weight_decay": 0.0},
    "lamb": {"eps": 1e-8, "eps_root": 1e-15},
    "noisy_sgd": {"key": 0},
}
OURS = {
    "adadelta": {"decay": 0.9, "mask": None},
    "adafactor": {"weight_decay": None, "mask": None},
    "lamb": {"min_norm": 0.0},
    "lars": {"mask": True, "trust_mask": True},
    "lbfgs": {"line_search": True, "max_line_search_steps": 20},
    "muon": {"momentum": 0.95, "mask": None},
    "prodigy": {"b1": 0.9, "b2": 0.999, "b3": None},
    "sam": {"rho": 0.05, "inner": optim.sgd, "opaque": True},
    "schedule_free": {"b2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "mask": None, "adaptive": True},
    "soap": {
        **{"b1": 0.95, "b2": 0.95, "b3": None, "eps": 1e-8, "weight_decay": 0.01, "mask": None},
        **{"frequency": 10, "max_size": 10000},
    },
    "sophia": {"mask": None, "key": 0},
    "yogi": {"eps_root": 0.0, "initial_accumulator_value": 1e-6},
}


def defaults(factory):
    parameters = inspect.signature(factory).parameters
    return {name: each.default for name, each in parameters.items() if each.default is not each.empty}


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_optax_or_of_this_table(name):
    ours = defaults(getattr(optim, name))
    peer = getattr(optax, name, None) or getattr(contrib, name, None)
    theirs = defaults(peer) if peer else {}
    common = {option: value for option, value in theirs.items() if option in ours}
    stated = {"learning_rate": RATES[name], **OURS.get(name, {}), **OTHERWISE.get(name, {})}
    assert ours == {**common, **stated}
