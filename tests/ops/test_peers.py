"""Losses and metrics against Optax and scikit-learn live, and Keras from the committed fixtures."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.metrics

from axonax.functional import losses, metrics
from ops import peers, stored
from ops.programs import compiled

KERAS = stored.read("keras")


# Second oracles: by day each op stands against float64 NumPy.
pytestmark = pytest.mark.slow


def entries(table: Any, library: str) -> list[Any]:
    return [
        pytest.param(number, peer, id=f"{peer.name}-{number}")
        for number, peer in enumerate(table)
        if getattr(peer, library)
    ]


def single(arrays: Any) -> list[np.ndarray]:
    return [each.astype(np.float32) if each.dtype.kind == "f" else each for each in arrays]


def our_loss(peer: peers.Peer, *arrays: Any) -> Any:
    """With the arguments that ours takes."""
    if peer.grouped:
        return losses.triplet_margin(None, arrays, **peer.options)
    y, p = arrays
    y = (peers.LENGTHS, y) if peer.name.startswith("connectionist") else y
    return getattr(losses, peer.name)(y, p, **peer.options)


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradient(function: Any, *arrays: Any) -> tuple[Any, Any]:
    """In the second array, the predictions."""
    y, p, *rest = arrays
    value, pull = jax.vjp(lambda p: function(y, p, *rest), p)
    return value, pull(stored.cotangent(value.shape, value.dtype))[0]


def near(peer: peers.Peer, found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=peer.rtol, atol=peer.atol)


@pytest.mark.parametrize(("number", "peer"), entries(peers.LOSSES, "optax"))
def test_losses_against_optax(number, peer):
    def theirs(y: Any, p: Any, q: Any = None) -> Any:
        return eval(peer.optax, {"optax": optax, "jax": jax, "jnp": jnp, "y": y, "p": p, "q": q})

    arrays = single(peer.arrays)
    ours = value_and_gradient(lambda *each: our_loss(peer, *each), *arrays)
    for found, expected in zip(ours, value_and_gradient(theirs, *arrays), strict=True):
        near(peer, found, expected)


@pytest.mark.parametrize(("number", "peer"), entries(peers.LOSSES, "keras"))
def test_losses_against_keras(number, peer):
    value, gradient = value_and_gradient(lambda *each: our_loss(peer, *each), *single(peer.arrays))
    name = f"losses.{peer.name}|{number}|float32|"
    near(peer, value, KERAS[f"{name}value"])
    near(peer, gradient, KERAS[f"{name}gradient"])


@pytest.mark.parametrize(("number", "peer"), entries(peers.LOSSES, "sklearn"))
def test_losses_against_sklearn(number, peer):
    y, p = peer.arrays
    near(
        peer,
        compiled(functools.partial(our_loss, peer))(*single(peer.arrays)).mean(),
        eval(peer.sklearn, {"M": sklearn.metrics, "y": y, "p": p}),
    )


@pytest.mark.parametrize(("number", "peer"), entries(peers.METRICS, "keras"))
def test_metrics_against_keras(number, peer):
    found = compiled(getattr(metrics, peer.name)(**peer.options))(*single(peer.arrays))
    near(peer, found, KERAS[f"metrics.{peer.name}|{number}|float32|value"] * peer.scale)


@pytest.mark.parametrize(("number", "peer"), entries(peers.METRICS, "sklearn"))
def test_metrics_against_sklearn(number, peer):
    found = compiled(getattr(metrics, peer.name)(**peer.options))(*single(peer.arrays))
    y, p = peer.arrays
    near(peer, found, eval(peer.sklearn, {"M": sklearn.metrics, "y": y, "p": p}))


def test_the_fixtures_are_those_of_the_table():
    areas = {"losses": peers.LOSSES, "metrics": peers.METRICS}
    wanted = {
        f"{area}.{peer.name}|{number}"
        for area, table in areas.items()
        for number, peer in enumerate(table)
        if peer.keras
    }
    assert {name.rsplit("|", 2)[0] for name in KERAS} == wanted, "run nox -s oracle"
