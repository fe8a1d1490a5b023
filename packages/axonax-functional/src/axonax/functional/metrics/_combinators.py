"""Metrics made of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.functional import _classes, _examples
from axonax.functional.metrics import _labels
from axonax.tensor.contracts import Metric


def collection(metrics: Mapping[str, Metric]) -> Metric:
    """Several metrics as one, whose value is a dict; statistics that they share are computed once.

    Precision, recall, F scores, IoU and the counts of one set of label options share theirs.

    Args:
        metrics: by name.

    Returns:
        The metric; it merges if all of them do.

    Raises:
        ValueError: there are none.

    >>> from axonax.functional.metrics import precision, recall
    >>> both = collection({"precision": precision(), "recall": recall()})
    >>> y_true, y_pred = jnp.array([1, 1, 0, 0]), jnp.array([0.9, 0.1, 0.2, 0.3])
    >>> {name: float(value) for name, value in both(y_true, y_pred).items()}
    {'precision': 1.0, 'recall': 0.5}
    >>> len(both.init(y_true, y_pred))
    1
    """
    if not metrics:
        raise ValueError("collection: metrics must name at least one metric, got none")
    parts: list[Metric] = []
    index = {}
    for name, metric in metrics.items():
        same = [place for place, part in enumerate(parts) if _statistics(part) == _statistics(metric)]
        index[name] = same[0] if same else len(parts)
        if not same:
            parts.append(metric)
    values = dict(metrics)

    def init(y_true: Any, y_pred: Any) -> tuple[Any, ...]:
        return tuple(part.init(y_true, y_pred) for part in parts)

    def update(
        state: tuple[Any, ...], y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None
    ) -> tuple[Any, ...]:
        return tuple(
            part.update(each, y_true, y_pred, weights=weights, where=where)
            for part, each in zip(parts, state, strict=True)
        )

    def merge(left: tuple[Any, ...], right: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(part.merge(*pair) for part, *pair in zip(parts, left, right, strict=True) if part.merge)

    def compute(state: tuple[Any, ...]) -> dict[str, Any]:
        return {name: metric.compute(state[index[name]]) for name, metric in values.items()}

    merges = all(part.merge is not None for part in parts)
    return Metric(
        init=init, update=update, merge=merge if merges else None, compute=compute, name="collection"
    )


def _statistics(metric: Metric) -> list[Any]:
    """What two metrics that keep the same state have in common: functions, or methods of equal values."""
    functions = (metric.init, metric.update, metric.merge)
    return [(getattr(each, "__self__", None), getattr(each, "__func__", each)) for each in functions]


def per_class(metric: Metric, *, classes: int | None = None) -> Metric:
    """A metric by the true class: its value on the examples of each class alone.

    Args:
        metric: any metric.
        classes: how many there are; read from ``y_pred`` ``(B, ..., K)`` if ``None``, 2 for binary labels.

    Returns:
        The metric; its value has a leading dimension of the classes.

    Raises:
        ValueError: ``classes`` is below 1, shapes fit no form, or labels that can be read are no classes.

    >>> from axonax.functional.metrics import accuracy
    >>> by_class = per_class(accuracy())
    >>> by_class(jnp.array([0, 1, 1]), jnp.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])).tolist()
    [1.0, 0.5]
    """
    who = "per_class"
    if classes is not None and classes < 1:
        raise ValueError(f"{who}: classes must be at least 1, got {classes}")

    def found(y_true: Any, y_pred: Any) -> tuple[_classes.Classes | None, int]:
        if classes is not None and np.shape(y_true) == np.shape(y_pred):
            return None, classes
        form = _labels.describe(who, y_true, y_pred, axis=-1, sparse=None, ignore_index=None)
        return form, 2 if form is None else form.count

    def init(y_true: Any, y_pred: Any) -> Any:
        count = found(y_true, y_pred)[1]
        start = metric.init(y_true, y_pred)
        return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *jnp.shape(leaf))), start)

    def update(state: Any, y_true: Any, y_pred: Any, *, weights: Any = None, where: Any = None) -> Any:
        form, count = found(y_true, y_pred)
        true = jnp.asarray(y_true)
        if form is not None:
            _classes.require_in_range(form, y_true, where, None)
            true = _classes.labels(form, y_true) if form.sparse else _labels.first_largest(true, form.axis)
        kept = _examples.mask(who, where, true.shape)
        kept = jnp.ones(true.shape, bool) if kept is None else kept

        def one(each: Any, name: jax.Array) -> Any:
            return metric.update(each, y_true, y_pred, weights=weights, where=kept & (true == name))

        return jax.vmap(one)(state, jnp.arange(count))

    return Metric(
        init=init,
        update=update,
        merge=None if metric.merge is None else jax.vmap(metric.merge),
        compute=jax.vmap(metric.compute),
        name=metric.name,
    )
