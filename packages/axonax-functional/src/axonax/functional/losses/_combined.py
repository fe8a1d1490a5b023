"""Losses made of losses."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from axonax.functional import _classes, _examples
from axonax.tensor import plugins
from axonax.tensor.contracts import expected, expects


def weighted(losses: Mapping[str, Any]) -> Callable[..., jax.Array]:
    """One loss of many outputs: the weighted sum of a loss for each.

    ``l_i = sum_k w_k loss_k(y_true[k], y_pred[k])_i``.

    Args:
        losses: by name of the output: a loss, the name of one, or a pair of that and its weight (1 if none).

    Returns:
        A loss of dicts with these keys; ``reduction``, ``weights`` and ``where`` go to each of them.

    Raises:
        ValueError: there is no loss, a name is unknown; when called, keys or the shapes of the values differ.

    >>> from axonax.functional.losses import hinge, mean_squared_error
    >>> loss = weighted({"size": (mean_squared_error, 0.5), "sign": hinge})
    >>> y = {"size": jnp.array([1.0, 2.0]), "sign": jnp.array([1.0, -1.0])}
    >>> loss(y, {"size": jnp.array([3.0, 2.0]), "sign": jnp.array([1.0, 1.0])}).tolist()
    [2.0, 2.0]
    """
    if not losses:
        raise ValueError("weighted: losses must hold at least one loss by the name of its output, got none")
    joined = {name: _loss_and_weight(each) for name, each in losses.items()}

    def loss(
        y_true: Any, y_pred: Any, *, reduction: str = "none", weights: Any = None, where: Any = None
    ) -> jax.Array:
        for name, given in (("y_true", y_true), ("y_pred", y_pred)):
            if not isinstance(given, Mapping) or not joined.keys() <= given.keys():
                got = sorted(given) if isinstance(given, Mapping) else type(given).__name__
                raise ValueError(f"weighted: {name} must be a dict with the keys {sorted(joined)}, got {got}")
        options = {"reduction": reduction, "weights": weights, "where": where}
        values = {
            name: each(y_true[name], y_pred[name], **options) * weight
            for name, (each, weight) in joined.items()
        }
        shapes = {name: value.shape for name, value in values.items()}
        if len(set(shapes.values())) > 1:
            raise ValueError(f"weighted: the values must have one shape, one an example, got {shapes}")
        return sum(values.values(), jnp.zeros(()))

    return loss


def _loss_and_weight(given: Any) -> tuple[Callable[..., jax.Array], Any]:
    loss, weight = given if isinstance(given, tuple | list) else (given, 1)
    return plugins.resolve("loss", loss) if isinstance(loss, str) else loss, weight


def label_smoothing(loss: Callable[..., jax.Array], smoothing: float = 0.1) -> Callable[..., jax.Array]:
    """A loss whose targets are smoothed first.

    ``loss(y_true * (1 - s) + s / K, y_pred)`` with the ``K`` classes of the last dimension.

    Args:
        loss: a loss of one-hot targets or probabilities, ``(B, ..., K)``.
        smoothing: ``s`` in [0, 1].

    Returns:
        The loss of targets of that form, or of integer class indices ``(B, ...)``; options go on to ``loss``.

    Raises:
        ValueError: ``smoothing`` is out of its range; when called, targets and predictions do not fit.

    >>> from axonax.functional.losses import mean_absolute_error
    >>> smooth = label_smoothing(mean_absolute_error, 0.5)
    >>> smooth(jnp.array([1]), jnp.array([[0.0, 1.0]])).tolist()
    [0.25]

    Szegedy and others, Rethinking the Inception architecture for computer vision (2016), section 7.
    """
    _examples.require_fraction("label_smoothing", "smoothing", smoothing)

    # What the loss gets are always targets of the shape of the predictions.
    @expects(lambda y_true, y_pred, **options: expected(loss, y_pred, y_pred, **options))
    @functools.wraps(loss)
    def smoothed(y_true: Any, y_pred: Any, **options: Any) -> jax.Array:
        if jnp.ndim(y_pred) < 2:
            raise ValueError(
                f"label_smoothing: y_pred must have the shape (B, ..., K), got {jnp.shape(y_pred)}"
            )
        found = _classes.gather("label_smoothing", y_true, y_pred, axis=-1, sparse=None, where=None)
        share = smoothing / found.targets.shape[-1]
        targets = (found.targets * (1 - smoothing) + share).astype(found.dtype)
        values: jax.Array = loss(targets, y_pred, **options)
        return values

    return smoothed
