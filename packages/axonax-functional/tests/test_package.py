"""What the package promises to others: its names, its entry points, what it imports."""

import inspect
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from axonax import functional as F
from axonax.tensor import activations, initializers, layers
from axonax.tensor.contracts import Metric

pytestmark = pytest.mark.smoke
WRAPPERS = {F.losses.label_smoothing, F.losses.weighted}
"""What makes losses of losses: no loss itself."""
COMBINATORS = {"collection", "from_function", "per_class"}


def public(module):
    return {
        name: value
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value not in WRAPPERS
    }


@pytest.mark.parametrize(("group", "module"), [("axonax.losses", F.losses), ("axonax.metrics", F.metrics)])
def test_every_public_function_is_an_entry_point(group, module):
    """Those that make a metric of functions or of other metrics aside: they have no options to name."""
    declared = {
        point.name: point for point in entry_points(group=group) if point.dist.name == "axonax-functional"
    }
    assert set(declared) == set(public(module)) - COMBINATORS
    for name, point in declared.items():
        assert point.load() is getattr(module, name)


def test_losses_share_their_common_parameters():
    for name, loss in public(F.losses).items():
        parameters = inspect.signature(loss).parameters
        assert list(parameters)[:2] == ["y_true", "y_pred"], name
        defaults = {each: parameters[each].default for each in ("reduction", "weights", "where")}
        assert defaults == {"reduction": "none", "weights": None, "where": None}, name


def test_metrics_are_factories_named_after_themselves():
    for name, factory in public(F.metrics).items():
        if name in COMBINATORS:
            continue
        metric = factory()
        assert isinstance(metric, Metric)
        assert metric.name == name


def test_the_functional_modules_of_tensor_are_handed_on():
    assert (F.activations, F.initializers, F.layers) == (activations, initializers, layers)


def test_importing_it_imports_no_sibling():
    code = "import sys, axonax.functional; print(*(m for m in sys.modules if m.startswith('axonax.')))"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert {module.split(".")[1] for module in modules.split()} == {"functional", "tensor"}
