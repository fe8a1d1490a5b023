"""Dense layers in other forms: with an update of low rank, and with a kernel of few bits."""

from __future__ import annotations

import functools
from typing import Any

from axonax.graph.data._layer import Layer, computes
from axonax.graph.data._param import Initializer, param
from axonax.graph.layers._activation import Activation, as_activation
from axonax.graph.layers._builder import builder
from axonax.graph.layers._checks import positive
from axonax.tensor import layers, weights

_PER_BYTE = {8: 1, 4: 2}


@builder
def lora_dense(
    units: int,
    *,
    rank: int,
    alpha: float | None = None,
    activation: Activation | None = None,
    use_bias: bool = True,
    kernel_initializer: str | Initializer = "glorot_uniform",
    bias_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Layer:
    """A dense layer with an update of low rank beside its kernel.

    ``y = activation(x @ kernel + bias + alpha / rank * (x @ lora_a) @ lora_b)``

    Args:
        units: the size of the last axis of the output.
        rank: of the update: ``lora_a`` is ``(in, rank)``, ``lora_b`` ``(rank, units)``, at first zeros.
        alpha: the strength of the update; ``None`` is ``rank``.
        activation: a name, a function or a layer that follows as a node of its own.
        use_bias: whether there is a bias.
        kernel_initializer: of ``kernel (in, units)``.
        bias_initializer: of ``bias (units,)``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(..., in)`` to ``(..., units)``.

    Raises:
        ValueError: ``units`` or ``rank`` is not a positive integer, an unknown name.

    Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models (2021).

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 3)) | nn.lora_dense(2, rank=1)
    """
    units, rank = positive("lora_dense", "units", units), positive("lora_dense", "rank", rank)
    params = {"kernel": param(functools.partial(_matrix, columns=units), kernel_initializer)}
    if use_bias:
        params["bias"] = param((units,), bias_initializer)
    params["lora_a"] = param(functools.partial(_matrix, columns=rank), "lecun_normal")
    params["lora_b"] = param((rank, units), "zeros")
    return computes(
        function=_with_update,
        params=params,
        options={"scale": lora_scale(rank, alpha)},
        check=_check,
        then=as_activation(activation),
    )


def lora_scale(rank: int, alpha: float | None) -> float:
    """What the update of a `lora_dense` is multiplied by."""
    return 1.0 if alpha is None else alpha / rank


@builder
def quantized_dense(
    units: int,
    *,
    bits: int = 8,
    group: int | None = None,
    activation: Activation | None = None,
    use_bias: bool = True,
    bias_initializer: str | Initializer = "zeros",
    name: str | None = None,
) -> Layer:
    """A dense layer whose kernel is integers and their scales, which no optimizer trains.

    ``y = activation(x @ (values * scale) + bias)``. The integers and scales are the buffers ``kernel/values``
    and ``kernel/scale``; `quantize` fills them from a dense layer.

    Args:
        units: the size of the last axis of the output.
        bits: 8 or 4; of 4, two weights share a byte.
        group: how many inputs share a scale; all of a unit if ``None``.
        activation: a name, a function or a layer that follows as a node of its own.
        use_bias: whether there is a bias.
        bias_initializer: of ``bias (units,)``.
        name: the path of the layer; ``None`` numbers it.

    Returns:
        a layer from ``(..., in)`` to ``(..., units)``.

    Raises:
        ValueError: ``units`` or ``group`` is not a positive integer, other bits, an unknown name.

    >>> from axonax import graph as nn
    >>> model = nn.input("x", (None, 4)) | nn.quantized_dense(2, bits=4)
    """
    units = positive("quantized_dense", "units", units)
    if bits not in _PER_BYTE:
        raise ValueError(f"quantized_dense: bits must be 8 or 4, got {bits!r}")
    if group is not None:
        group = positive("quantized_dense", "group", group)
    held = functools.partial(_rows, columns=units, divisor=_PER_BYTE[bits])
    scales = functools.partial(_rows, columns=units, divisor=group)
    return computes(
        function=_with_integers,
        params={"bias": param((units,), bias_initializer)} if use_bias else {},
        buffers={
            "kernel/values": param(held, "zeros", dtype="int8"),
            "kernel/scale": param(scales, "ones", dtype="float32"),
        },
        options={"bits": bits},
        check=functools.partial(_check_groups, divisors=(_PER_BYTE[bits], group or 1)),
        then=as_activation(activation),
    )


def _with_update(x: Any, *, lora_a: Any, lora_b: Any, kernel: Any, bias: Any = None, scale: float) -> Any:
    return weights.low_rank_dense(x, kernel, lora_a, lora_b, bias, scale=scale)


def _with_integers(x: Any, *, bias: Any = None, bits: int, **held: Any) -> Any:
    kernel = layers.QuantizedKernel(values=held["kernel/values"], scale=held["kernel/scale"], bits=bits)
    return layers.quantized_dense(x, kernel, bias), held


def _matrix(x: Any, *, columns: int) -> tuple[int, int]:
    return x.shape[-1], columns


def _rows(x: Any, *, columns: int, divisor: int | None) -> tuple[int, int]:
    return 1 if divisor is None else x.shape[-1] // divisor, columns


def _check(x: Any) -> str | None:
    return None if x.ndim else "needs an input of at least one axis (..., features)"


def _check_groups(x: Any, *, divisors: tuple[int, ...]) -> str | None:
    if not x.ndim:
        return _check(x)
    wrong = [each for each in divisors if x.shape[-1] % each]
    return f"needs a last axis that {wrong[0]} divides" if wrong else None
