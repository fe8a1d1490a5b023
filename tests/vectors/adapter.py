"""Each operation of the vectors in our names and layouts: channels last, ``(*window, in, out)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax import optim
from axonax.functional import losses, metrics
from axonax.tensor import activations, initializers, layers
from vectors import adapter_graph, adapter_layers, adapter_loop, adapter_optim, adapter_recurrent
from vectors.adapter_layers import options

RENAMED = {
    "losses.apply_label_smoothing": "losses.label_smoothing",
    "metrics.top_k_categorical_accuracy": "metrics.top_k_accuracy",
    "quantization.from_tensor": "layers.quantize",
    "quantization.weight_only_quantized_dense": "layers.quantized_dense",
}
"""Our names of operations that are called otherwise here."""

MODULES = {"activations": activations, "initializers": initializers, "layers": layers, "losses": losses,
           "metrics": metrics, "optimizers": optim, "schedules": optim}  # fmt: skip


def our_name(op: str) -> str:
    return RENAMED.get(op, op)


def exists(name: str) -> bool:
    area, _, op = name.partition(".")
    return hasattr(MODULES.get(area), op)


def activation(op: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any, **kwargs: Any) -> Any:
        return op(x, **kwargs)

    return call


def leaky_relu(x: Any, **kwargs: Any) -> Any:
    return activations.leaky_relu(x, **options(kwargs, alpha="negative_slope"))


def hard(op: Callable[..., Any]) -> Callable[..., Any]:
    """Our form by default; Axon's where one of its options is given."""

    def call(x: Any, **kwargs: Any) -> Any:
        axon = {"slope": 0.2, "offset": 0.2, **options(kwargs, alpha="slope", beta="offset")}
        return op(x, **axon) if kwargs else op(x)

    return call


def log_sumexp(x: Any, **kwargs: Any) -> Any:
    """The axis stays, by Axon's convention."""
    return activations.logsumexp(x, keepdims=True, **kwargs)


def loss(op: Callable[..., Any]) -> Callable[..., Any]:
    def call(y_true: Any, y_pred: Any, **kwargs: Any) -> Any:
        if "class_weights" in kwargs:
            kwargs["class_weights"] = np.asarray(kwargs["class_weights"], np.float32)
        if "axes" in kwargs:
            (kwargs["axis"],) = kwargs.pop("axes")
        return op(y_true, y_pred, **kwargs)

    return call


def metric(factory: Callable[..., Any]) -> Callable[..., Any]:
    """The value on one batch."""

    def call(y_true: Any, y_pred: Any, **kwargs: Any) -> Any:
        return factory(**kwargs)(y_true, y_pred)

    return call


def running(aggregate: Callable[..., Any]) -> Callable[..., Any]:
    """A step of a running mean or sum: what came before, weighted by its steps, and one more value."""

    def call(old: Any, new: Any, step: Any, metric: str | None = None) -> Any:
        value = new if metric is None else getattr(metrics, metric)()(*new)
        return aggregate(jnp.float32(old), jnp.float32(value), jnp.float32(step))

    return call


def average_step(old: Any, new: Any, step: Any) -> Any:
    return metrics.mean()(None, jnp.stack([old, new]), weights=jnp.stack([step, jnp.float32(1)]))


def sum_step(old: Any, new: Any, step: Any) -> Any:
    return metrics.sum()(None, jnp.stack([old, new]))


def smoothed(y_true: Any, y_pred: Any, smoothing: float = 0.1) -> Any:
    """The targets that a loss behind the wrapper sees."""
    return losses.label_smoothing(lambda y, p: y, smoothing)(y_true, y_pred)


def initializer(factory: Callable[..., Any]) -> Callable[..., Any]:
    def call(*, shape: Any, dtype: str = "f32", seed: int = 0, **kwargs: Any) -> Any:
        spread = kwargs.pop("scale", None)
        if spread is not None:
            kwargs |= _scale(factory.__name__, spread)
        dtypes = {"f32": jnp.float32, "bf16": jnp.bfloat16, "f16": jnp.float16}
        # The numbers of the vectors are those of threefry before it could be partitioned.
        with jax.threefry_partitionable(False):
            return factory(**kwargs)(jax.random.key(seed), tuple(shape), dtypes[dtype])

    return call


def _scale(name: str, scale: float) -> dict[str, float]:
    """Axon's one ``scale`` in our options."""
    if name == "uniform":
        return {"low": -scale, "high": scale}
    return {"stddev": scale} if name == "normal" else {"scale": scale}


OPERATIONS: dict[str, Callable[..., Any]] = {
    **adapter_layers.OPERATIONS,
    **adapter_recurrent.OPERATIONS,
    **adapter_loop.OPERATIONS,
    "activations.hard_sigmoid": hard(activations.hard_sigmoid),
    "activations.hard_silu": hard(activations.hard_silu),
    "activations.leaky_relu": leaky_relu,
    "activations.log_sumexp": log_sumexp,
    "metrics.running_average": running(average_step),
    "metrics.running_average_step": running(average_step),
    "metrics.running_sum": running(sum_step),
    "metrics.running_sum_step": running(sum_step),
    "losses.apply_label_smoothing": smoothed,
    **{f"layers.{op}": adapter_graph.joined(op) for op in ("add", "subtract")},
    "layers.mask": adapter_graph.mask,
    "updates.run": adapter_optim.run,
    "nx.transpose": lambda x, axes=None: jnp.transpose(x, axes),
}


MAKERS: dict[str, Callable[[Any], Callable[..., Any]]] = {
    "activations": activation,
    "initializers": initializer,
    "losses": loss,
    "metrics": metric,
    "optimizers": adapter_optim.optimizer,
    "schedules": adapter_optim.schedule,
}
"""What makes something of our function that takes inputs as the vectors have them, by area."""


def operation(op: str) -> Callable[..., Any] | None:
    """What runs an operation of the vectors, or ``None``."""
    area, _, name = our_name(op).partition(".")
    if op in OPERATIONS or not exists(f"{area}.{name}") or area not in MAKERS:
        return OPERATIONS.get(op)
    return MAKERS[area](getattr(MODULES[area], name))
