"""Names that installed distributions offer."""

import importlib
import sys

import pytest

from axonax.tensor import plugins


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Installs a distribution of entry points that lead into a module of its own."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(distribution, points, module="offered_things"):
        (tmp_path / f"{module}.py").write_text("answer = 42\ndef half(): return 0.5\n")
        info = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        groups = [f"[{group}]\n" + "\n".join(lines) for group, lines in points.items()]
        (info / "entry_points.txt").write_text("\n".join(groups))
        importlib.invalidate_caches()

    plugins._points.cache_clear()
    yield install
    plugins._points.cache_clear()
    sys.modules.pop("offered_things", None)


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A path on which no distribution is installed."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()


def test_a_name_resolves_to_what_its_distribution_offers(offer):
    offer("other-losses", {"axonax.losses": ["my_loss = offered_things:half"]})
    assert plugins.resolve("loss", "my_loss")() == 0.5
    assert plugins.available("loss")["my_loss"] == "other-losses"
    assert "my_loss" not in plugins.available("metric")


def test_what_is_installed_later_is_found_without_a_restart(offer):
    assert "late_metric" not in plugins.available("metric")
    offer("late-metrics", {"axonax.metrics": ["late_metric = offered_things:answer"]})
    assert plugins.resolve("metric", "late_metric") == 42


def test_a_missing_owner_is_named(offer, alone):
    message = (
        'loss "categorical_cross_entropy" comes with axonax-functional, which is not installed: '
        "pip install axonax-functional"
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        plugins.resolve("loss", "categorical_cross_entropy")
    with pytest.raises(ValueError, match='optimizer "adam" comes with axonax-optim, which is not installed'):
        plugins.resolve("optimizer", "adam")


def test_near_matches_come_before_a_missing_owner(offer, alone):
    offer("other-losses", {"axonax.losses": ["my_loss = offered_things:half"]})
    near = r'unknown loss "my_los": did you mean "my_loss"\? \(or does it come with axonax-functional, which'
    with pytest.raises(ValueError, match=near):
        plugins.resolve("loss", "my_los")


def test_a_misspelt_name_of_an_installed_owner_lists_near_matches(offer, alone):
    offer("axonax-optim", {"axonax.optimizers": ["adam = offered_things:half", "sgd = offered_things:half"]})
    with pytest.raises(ValueError, match=r'unknown optimizer "adm": did you mean "adam"\?$'):
        plugins.resolve("optimizer", "adm")


def test_one_name_of_two_distributions_is_a_conflict(offer):
    offer("one-pack", {"axonax.losses": ["shared = offered_things:half"]})
    offer("two-pack", {"axonax.losses": ["shared = offered_things:answer"]})
    assert plugins.available("loss")["shared"] == "one-pack, two-pack"
    with pytest.raises(ValueError, match='loss "shared" is offered by one-pack and two-pack: import it'):
        plugins.resolve("loss", "shared")


@pytest.mark.parametrize("value", ["offered_things:missing", "no_such_module_here:loss"])
def test_a_broken_distribution_is_named(offer, value):
    offer("broken-pack", {"axonax.losses": [f"broken = {value}"]})
    with pytest.raises(ImportError, match=f'loss "broken" of broken-pack cannot be imported from {value}'):
        plugins.resolve("loss", "broken")


def test_unknown_kinds():
    with pytest.raises(ValueError, match='unknown plugin kind "metrics": did you mean "metric"'):
        plugins.resolve("metrics", "accuracy")
    with pytest.raises(ValueError, match='unknown plugin kind "layer"'):
        plugins.available("layer")
