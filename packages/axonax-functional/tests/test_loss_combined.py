"""Losses made of losses, against the formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.functional import losses

Y = {"size": jnp.array([1.0, 2.0, 3.0]), "kind": jnp.array([0, 2, 1])}
P = {"size": jnp.array([1.5, 2.0, 1.0]), "kind": jnp.arange(9.0).reshape(3, 3) / 5}


def parts(**options):
    return (
        losses.mean_squared_error(Y["size"], P["size"], **options),
        losses.poly(Y["kind"], P["kind"], from_logits=True, **options),
    )


def kinds(y_true, y_pred, **options):
    return losses.poly(y_true, y_pred, from_logits=True, **options)


@pytest.mark.parametrize("options", [{}, {"reduction": "mean", "weights": jnp.array([1.0, 0.0, 2.0])}])
@pytest.mark.parametrize("name", ["mean_squared_error", losses.mean_squared_error])
def test_weighted_is_the_weighted_sum(name, options):
    found = jax.jit(lambda y, p: losses.weighted({"size": (name, 0.5), "kind": kinds})(y, p, **options))(Y, P)
    first, second = parts(**options)
    np.testing.assert_allclose(found, 0.5 * first + second, rtol=1e-6)


def test_weighted_names_what_is_wrong():
    loss = losses.weighted({"size": "huber", "kind": kinds})
    with pytest.raises(ValueError, match="at least one loss"):
        losses.weighted({})
    with pytest.raises(
        ValueError, match=r"y_pred must be a dict with the keys .'kind', 'size'., got .'size'."
    ):
        loss(Y, {"size": P["size"]})
    with pytest.raises(ValueError, match="y_true must be a dict with the keys .*, got ArrayImpl"):
        loss(Y["size"], P)
    with pytest.raises(ValueError, match=r"must have one shape.*'size': \(2,\), 'kind': \(3,\)"):
        loss({**Y, "size": jnp.ones(2)}, {**P, "size": jnp.ones(2)})
    with pytest.raises(ValueError, match="huber"):
        losses.weighted({"size": "hubber"})


def test_label_smoothing_is_that_of_the_loss():
    smooth = losses.label_smoothing(losses.categorical_cross_entropy, 0.2)
    expected = losses.categorical_cross_entropy(Y["kind"], P["kind"], from_logits=True, label_smoothing=0.2)
    for y_true in (Y["kind"], jnp.eye(3)[Y["kind"]]):
        found = smooth(y_true, P["kind"], from_logits=True)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert smooth.__name__ == "categorical_cross_entropy"


def test_label_smoothing_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"smoothing must be in \[0, 1\], got 2"):
        losses.label_smoothing(losses.hinge, 2)
    with pytest.raises(ValueError, match=r"y_pred must have the shape \(B, ..., K\), got \(3,\)"):
        losses.label_smoothing(losses.hinge)(jnp.ones(3), jnp.ones(3))


def test_an_infinite_logit_is_certain():
    logits = jnp.array([[jnp.inf, 1.0, 0.0]])
    for target in (jnp.array([0]), jnp.array([[1.0, 0.0, 0.0]])):
        value, gradient = jax.value_and_grad(
            lambda x, y=target: losses.categorical_cross_entropy(y, x, from_logits=True).sum()
        )(logits)
        assert value == 0
        assert (gradient == 0).all()
