"""All rows, and which public names need one."""

from __future__ import annotations

import importlib
import types
import typing
from collections.abc import Callable
from typing import Any

from ops import (
    rows_activations,
    rows_activations_more,
    rows_initializers,
    rows_layers_attention,
    rows_layers_convs,
    rows_layers_inference,
    rows_layers_linear,
    rows_layers_norms,
    rows_layers_pools,
    rows_layers_positions,
    rows_layers_recurrent,
    rows_layers_shapes,
    rows_layers_windows,
    rows_losses,
    rows_losses_classes,
    rows_losses_margins,
    rows_losses_real,
    rows_losses_sequences,
    rows_metrics,
    rows_metrics_labels,
    rows_metrics_ranks,
    rows_metrics_values,
)
from ops.row import MODULES, DrawRow, LossRow, MetricRow, OpRow, Row

ALIASES = {
    "activations.hard_swish": "activations.hard_silu",
    "activations.log_sumexp": "activations.logsumexp",
    "activations.swish": "activations.silu",
}
"""Second names of one function: no row of their own."""

NOT_OPS = {
    "activations.available": "the names that by_name knows",
    "activations.by_name": "a look-up in the table of names",
    "initializers.available": "the names that by_name knows",
    "initializers.gain": "a look-up in a table of numbers",
    "initializers.by_name": "a look-up in the table of names",
    "initializers.record": "the call that made an initializer, tested in the package",
    "layers.remat": "a wrapper of functions, tested with repeat",
    "layers.rotary_frequencies": "numbers of the host, tested in the package",
    "losses.label_smoothing": "a wrapper of losses, tested in the package",
    "losses.weighted": "a sum of losses, tested in the package",
    "metrics.collection": "joins metrics under names",
    "metrics.from_function": "makes a metric of a function: the mean of its values",
    "metrics.per_class": "a metric by the true class",
}
"""Public names that compute nothing, and what they are."""

ROWS: tuple[Row, ...] = (
    *rows_activations.ROWS,
    *rows_activations_more.ROWS,
    *rows_initializers.ROWS,
    *rows_layers_convs.ROWS,
    *rows_layers_linear.ROWS,
    *rows_layers_attention.ROWS,
    *rows_layers_positions.ROWS,
    *rows_layers_windows.ROWS,
    *rows_layers_norms.ROWS,
    *rows_layers_pools.ROWS,
    *rows_layers_recurrent.ROWS,
    *rows_layers_shapes.ROWS,
    *rows_layers_inference.ROWS,
    *rows_losses.ROWS,
    *rows_losses_real.ROWS,
    *rows_losses_margins.ROWS,
    *rows_losses_classes.ROWS,
    *rows_losses_sequences.ROWS,
    *rows_metrics.ROWS,
    *rows_metrics_labels.ROWS,
    *rows_metrics_ranks.ROWS,
    *rows_metrics_values.ROWS,
)


def of_kind(kind: type[Any]) -> list[Any]:
    """The rows of one kind."""
    return [row for row in ROWS if isinstance(row, kind)]


OPS: list[OpRow] = of_kind(OpRow)
LOSSES: list[LossRow] = of_kind(LossRow)
METRICS: list[MetricRow] = of_kind(MetricRow)
DRAWS: list[DrawRow] = of_kind(DrawRow)


def public(area: str) -> set[str]:
    """The public names of an area: functions that its module defines or hands on, its submodules aside."""
    module = importlib.import_module(MODULES[area])
    return {
        f"{area}.{name}"
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value) and not _is_machinery(value)
    }


def _is_machinery(value: Callable[..., Any]) -> bool:
    """Whether a callable is a type, or comes from a module that only serves annotations and plumbing."""
    home = getattr(value, "__module__", "") or ""
    plumbing = {"typing", "collections.abc", "functools", "dataclasses", "axonax.tensor.names"}
    return isinstance(value, type | types.ModuleType) or home in plumbing or value is typing.Any
