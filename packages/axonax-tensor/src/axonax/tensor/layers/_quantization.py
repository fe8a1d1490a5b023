"""Kernels held in eight or four bits a weight, and products with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Integral
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int8, Shaped

from axonax.tensor.layers._arrays import check_bias, finished
from axonax.tensor.precision import promoted

_PER_BYTE = {8: 1, 4: 2}


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True)
class QuantizedKernel:
    """A kernel ``(inputs, units)`` as integers and their scales; `dequantize` gives it back.

    ``values`` are bytes; of four bits, two a byte, that of the even input in the lower half. ``scale`` has a
    row for each group of inputs. A pytree of these two; ``bits`` is static.
    """

    values: Int8[Array, "*layers bytes units"]
    scale: Float[Array, "*layers groups units"]
    bits: int = field(default=8, metadata={"static": True})

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the kernel: ``(inputs, units)``."""
        *layers, held, units = self.values.shape
        return (*layers, held * _PER_BYTE[self.bits], units)


def quantize(
    kernel: Float[ArrayLike, "*layers inputs units"], *, bits: Literal[4, 8] = 8, group: int | None = None
) -> QuantizedKernel:
    """Symmetric integers and a scale for each output channel, or for each group of inputs of one.

    ``scale = max |kernel| / (2**bits / 2 - 0.5)`` over the group, and
    ``values = clip(round(kernel / scale), -2**bits / 2, 2**bits / 2 - 1)``: nothing is further off than half
    a scale.

    Args:
        kernel: floats ``(..., inputs, units)``; leading axes are those of stacked layers.
        bits: 8 or 4.
        group: how many inputs share a scale; all of a channel if ``None``.

    Returns:
        ``values (..., inputs, units)`` of int8 (of four bits: ``(..., inputs / 2, units)``, two a byte), and
        ``scale (..., inputs / group, units)``, float32 at least. A group of zeros stays zero.

    Raises:
        ValueError: a kernel that is not a float matrix, unknown bits, a group that does not divide the
            inputs, or an odd number of inputs of four bits.

    Source: Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference (2018), with zero point 0.

    >>> quantize(jnp.array([[-127.5], [30.0]])).values.tolist()
    [[-128], [30]]
    """
    kernel = jnp.asarray(kernel)
    if kernel.ndim < 2 or not jnp.issubdtype(kernel.dtype, jnp.floating):
        came = f"{kernel.dtype.name} {kernel.shape}"
        raise ValueError(f"quantize: kernel must be floats (..., inputs, units), got {came}")
    groups = _groups(kernel.shape[-2], bits, group)
    kernel = kernel.astype(promoted(kernel.dtype, jnp.float32))
    half = 2 ** (bits - 1)
    grouped = _in_groups(kernel, groups)
    largest = jnp.max(jnp.abs(grouped), -2, keepdims=True, initial=0)
    # A scale of 0 would divide zeros by zero.
    scale = jnp.maximum(largest / (half - 0.5), np.finfo(kernel.dtype).tiny)
    values = jnp.clip(jax.lax.round(grouped / scale), -half, half - 1).astype(jnp.int8)
    flat = jnp.reshape(values, kernel.shape)
    return QuantizedKernel(values=_packed(flat, bits), scale=jnp.squeeze(scale, -2), bits=bits)


def dequantize(kernel: QuantizedKernel) -> Float[Array, "*layers inputs units"]:
    """``values * scale``: the kernel, to half a scale.

    Args:
        kernel: what `quantize` gave.

    Returns:
        ``(..., inputs, units)`` in the dtype of the scales.

    Raises:
        ValueError: ``kernel`` is not a `QuantizedKernel`, or its parts do not fit.

    >>> dequantize(quantize(jnp.array([[-127.5], [30.0]]))).tolist()
    [[-128.0], [30.0]]
    """
    _check("dequantize", kernel)
    return _restored(kernel, jnp.asarray(kernel.scale).dtype)


def quantized_dense(
    x: Float[ArrayLike, "*batch inputs"],
    kernel: QuantizedKernel,
    bias: Shaped[ArrayLike, " units"] | None = None,
) -> Float[Array, "*batch units"]:
    """``x @ dequantize(kernel) + bias``, the scale of a channel applied after its sum.

    Args:
        x: floats ``(..., inputs)``.
        kernel: `quantize` of ``(inputs, units)``.
        bias: ``(units,)`` or none.

    Returns:
        ``(..., units)`` in the dtype of ``x``; half precision is summed in float32 and rounded once.

    Raises:
        ValueError: ``x`` is not float, ``kernel`` is not a `QuantizedKernel`, or shapes that do not fit.

    >>> quantized_dense(jnp.ones((1, 2)), quantize(jnp.array([[-127.5], [30.0]])), jnp.ones(1)).tolist()
    [[-97.0]]
    """
    x = jnp.asarray(x)
    _check("quantized_dense", kernel)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"quantized_dense: input must be floats, got {x.dtype.name}")
    if len(kernel.shape) != 2 or x.shape[-1:] != kernel.shape[:1]:
        raise ValueError(f"quantized_dense: kernel {kernel.shape} does not fit input {x.shape}")
    check_bias("quantized_dense", bias, kernel.shape[1])
    wide = promoted(x.dtype, jnp.float32)
    axes = (((x.ndim - 1,), (0,)), ((), ()))
    if kernel.scale.shape[-2] > 1:
        total = jax.lax.dot_general(x.astype(wide), _restored(kernel, wide), axes)
        return finished(total, bias, x.dtype)
    # Whole numbers up to 128 are exact in every float dtype.
    weights = _unpacked(kernel).astype(x.dtype)
    total = jax.lax.dot_general(x, weights, axes, preferred_element_type=wide)
    scale = jnp.reshape(kernel.scale, (1,) * (x.ndim - 1) + (-1,)).astype(wide)
    return finished(total * scale, bias, x.dtype)


def _groups(inputs: int, bits: int, group: int | None) -> int:
    """How many groups of inputs have scales of their own."""
    if bits not in _PER_BYTE:
        raise ValueError(f"quantize: bits must be 8 or 4, got {bits}")
    if inputs % _PER_BYTE[bits]:
        raise ValueError(
            f"quantize: inputs of 4 bits share a byte, so their number must be even, got {inputs}"
        )
    if group is not None and (not isinstance(group, Integral) or group < 1 or inputs % group):
        raise ValueError(f"quantize: group must divide {inputs} inputs, got {group}")
    return 1 if group is None else inputs // group


def _in_groups(kernel: Array, groups: int) -> Array:
    """``(..., groups, inputs / groups, units)``."""
    *layers, inputs, units = kernel.shape
    return jnp.reshape(kernel, (*layers, groups, inputs // max(groups, 1), units))


def _packed(values: Array, bits: int) -> Array:
    """Two values of four bits a byte, along the inputs."""
    if _PER_BYTE[bits] == 1:
        return values
    low, high = values[..., ::2, :], values[..., 1::2, :]
    return (low & 15) | (high << 4)


def _unpacked(kernel: QuantizedKernel) -> Array:
    """One value a byte; shifts of signed bytes carry the sign."""
    values = jnp.asarray(kernel.values)
    if _PER_BYTE[kernel.bits] == 1:
        return values
    return jnp.reshape(jnp.stack([(values << 4) >> 4, values >> 4], -2), kernel.shape)


def _restored(kernel: QuantizedKernel, dtype: jnp.dtype) -> Array:
    """The kernel in a float dtype."""
    scale = jnp.asarray(kernel.scale, dtype)
    values = _in_groups(_unpacked(kernel), scale.shape[-2]).astype(dtype)
    return jnp.reshape(values * scale[..., None, :], kernel.shape)


def _check(op: str, kernel: QuantizedKernel) -> None:
    if not isinstance(kernel, QuantizedKernel):
        raise ValueError(
            f"{op}: kernel must be a QuantizedKernel, as of quantize, got {type(kernel).__name__}"
        )
    values, scale = jnp.shape(kernel.values), jnp.shape(kernel.scale)
    fits = kernel.bits in _PER_BYTE and len(values) == len(scale) > 1 and values[-1] == scale[-1]
    if not fits or values[:-2] != scale[:-2] or kernel.shape[-2] % max(scale[-2], 1):
        raise ValueError(f"{op}: scale {scale} does not fit values {values} of {kernel.bits} bits")
