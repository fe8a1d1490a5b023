"""Products with a kernel, and biases."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer, Shaped

from axonax.tensor.layers._arrays import accumulator, along, check_bias, finished, together
from axonax.tensor.precision import promoted


def dense(
    x: Shaped[ArrayLike, "*batch inputs"],
    kernel: Shaped[ArrayLike, "inputs units"],
    bias: Shaped[ArrayLike, " units"] | None = None,
) -> Shaped[Array, "*batch units"]:
    """``x @ kernel + bias``.

    Args:
        x: ``(..., in)``.
        kernel: ``(in, units)``.
        bias: ``(units,)`` or none.

    Returns:
        ``(..., units)`` in the dtype that holds ``x`` and ``kernel``; half precision is summed in
        float32 and rounded once.

    Raises:
        ValueError: shapes that do not fit.

    >>> dense(jnp.ones((5, 3)), jnp.ones((3, 2)), jnp.ones(2)).tolist()[0]
    [4.0, 4.0]
    """
    came, held = jnp.shape(x), jnp.shape(kernel)
    if len(held) != 2:
        raise ValueError(f"dense: kernel must have 2 axes, (in, units), got {held}")
    if came[-1:] != held[:1]:
        raise ValueError(f"dense: kernel {held} does not fit input {came}")
    check_bias("dense", bias, held[1])
    x, kernel = together(x, kernel)
    total = jax.lax.dot_general(
        x, kernel, (((x.ndim - 1,), (0,)), ((), ())), preferred_element_type=accumulator(x.dtype)
    )
    return finished(total, bias, x.dtype)


def bias(
    x: Shaped[ArrayLike, "*batch units"], bias: Shaped[ArrayLike, " units"]
) -> Shaped[Array, "*batch units"]:
    """``x + bias``.

    Args:
        x: ``(..., units)``.
        bias: ``(units,)``.

    Returns:
        the shape of ``x`` in the dtype that holds both.

    Raises:
        ValueError: ``bias`` does not fit the last axis.

    >>> bias(jnp.zeros((1, 2)), jnp.array([1.0, 2.0])).tolist()
    [[1.0, 2.0]]
    """
    x, bias = together(x, bias)
    if x.ndim < 1 or bias.shape != x.shape[-1:]:
        raise ValueError(f"bias: bias {bias.shape} does not fit input {x.shape}")
    return x + along(bias, x.ndim)


def bilinear(
    x: Shaped[ArrayLike, "*batch first"],
    y: Shaped[ArrayLike, "*batch second"],
    kernel: Shaped[ArrayLike, "first second units"],
    bias: Shaped[ArrayLike, " units"] | None = None,
) -> Shaped[Array, "*batch units"]:
    """``sum over i, j of x[i] * kernel[i, j, :] * y[j]``, plus ``bias``.

    Args:
        x: ``(..., in1)``.
        y: ``(..., in2)`` with the same leading axes.
        kernel: ``(in1, in2, units)``.
        bias: ``(units,)`` or none.

    Returns:
        ``(..., units)`` in the dtype that holds all of them; half precision is summed in float32.

    Raises:
        ValueError: shapes that do not fit.

    >>> bilinear(jnp.ones((5, 3)), jnp.ones((5, 2)), jnp.ones((3, 2, 4))).tolist()[0]
    [6.0, 6.0, 6.0, 6.0]
    """
    first, second, held = jnp.shape(x), jnp.shape(y), jnp.shape(kernel)
    if len(held) != 3:
        raise ValueError(f"bilinear: kernel must have 3 axes, (in1, in2, units), got {held}")
    if first[:-1] != second[:-1] or first[-1:] + second[-1:] != held[:2]:
        raise ValueError(f"bilinear: kernel {held} does not fit inputs {first} and {second}")
    check_bias("bilinear", bias, held[2])
    x, kernel = together(x, kernel)
    y, kernel = together(y, kernel)
    dtype = promoted(x.dtype, kernel.dtype)
    wide = accumulator(dtype) or dtype
    rows = jnp.einsum("...i,iju->...ju", x.astype(wide), kernel.astype(wide))
    return finished(jnp.einsum("...ju,...j->...u", rows, y.astype(wide)), bias, dtype)


def einsum_dense(
    x: Shaped[ArrayLike, " ..."],
    kernel: Shaped[ArrayLike, " ..."],
    bias: Shaped[ArrayLike, " ..."] | None = None,
    *,
    equation: str,
) -> Shaped[Array, " ..."]:
    """``einsum(equation, x, kernel) + bias``: a dense layer over any axes.

    Args:
        x: any shape.
        kernel: any shape that the equation allows.
        bias: broadcasts to the result, aligned with its last axes; or none.
        equation: such as ``"btd,dnh->btnh"``; ``"..."`` stands for leading axes.

    Returns:
        what the equation says, in the dtype that holds ``x`` and ``kernel``; half precision is summed in
        float32 and rounded once.

    Raises:
        ValueError: an equation without both operands and a result, or shapes that do not fit.

    >>> einsum_dense(jnp.ones((2, 3)), jnp.ones((3, 4, 5)), equation="bd,dnh->bnh").shape
    (2, 4, 5)
    """
    operands, arrow, _ = equation.partition("->")
    if not arrow or operands.count(",") != 1:
        raise ValueError(f'einsum_dense: equation must be "x,kernel->result", got "{equation}"')
    x, kernel = together(x, kernel)
    total = jnp.einsum(equation, x, kernel, preferred_element_type=accumulator(x.dtype))
    if bias is not None:
        shape = jnp.shape(bias)
        pairs = zip(reversed(shape), reversed(total.shape), strict=False)
        if len(shape) > total.ndim or any(size not in (1, whole) for size, whole in pairs):
            raise ValueError(f"einsum_dense: bias {shape} does not broadcast to result {total.shape}")
        ones = (1,) * (total.ndim - len(shape))
        total = total + jnp.reshape(jnp.asarray(bias), ones + shape).astype(total.dtype)
    return total.astype(x.dtype)


def embedding(
    indices: Integer[ArrayLike, "*indices"], kernel: Float[ArrayLike, "vocabulary size"]
) -> Float[Array, "*indices size"]:
    """The rows of ``kernel`` at ``indices``.

    Args:
        indices: integers of any shape, in [0, vocabulary).
        kernel: floats ``(vocabulary, size)``.

    Returns:
        ``(*indices, size)`` in the dtype of ``kernel``; an index out of range (a negative one too) gives
        NaN, and no gradient.

    Raises:
        ValueError: indices that are not integers, or a kernel that is not a float matrix.

    >>> embedding(jnp.array([1, 5]), jnp.array([[1.0], [2.0]])).tolist()
    [[2.0], [nan]]
    """
    indices, kernel = jnp.asarray(indices), jnp.asarray(kernel)
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise ValueError(f"embedding: indices must be integers, got {indices.dtype.name}")
    if kernel.ndim != 2 or not jnp.issubdtype(kernel.dtype, jnp.floating):
        came = f"{kernel.dtype.name} {kernel.shape}"
        raise ValueError(f"embedding: kernel must be floats (vocabulary, size), got {came}")
    if not kernel.shape[0]:
        return jnp.full((*indices.shape, kernel.shape[1]), jnp.nan, kernel.dtype)
    return kernel.at[indices].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)


def tied_logits(
    x: Shaped[ArrayLike, "*batch size"],
    kernel: Shaped[ArrayLike, "vocabulary size"],
    bias: Shaped[ArrayLike, " vocabulary"] | None = None,
) -> Shaped[Array, "*batch vocabulary"]:
    """``x @ kernel.T + bias``: scores of a vocabulary by the kernel of its `embedding`.

    Args:
        x: ``(..., size)``.
        kernel: ``(vocabulary, size)``.
        bias: ``(vocabulary,)`` or none.

    Returns:
        ``(..., vocabulary)`` in the dtype that holds ``x`` and ``kernel``.

    Raises:
        ValueError: shapes that do not fit.

    Source: Press and Wolf, Using the Output Embedding to Improve Language Models (2016).

    >>> tied_logits(jnp.ones((1, 2)), jnp.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
    [[3.0, 7.0]]
    """
    came, held = jnp.shape(x), jnp.shape(kernel)
    if len(held) != 2 or came[-1:] != held[1:]:
        raise ValueError(
            f"tied_logits: kernel {held} does not fit input {came}: (vocabulary, size) it must be"
        )
    check_bias("tied_logits", bias, held[0])
    x, kernel = together(x, kernel)
    total = jax.lax.dot_general(
        x, kernel, (((x.ndim - 1,), (1,)), ((), ())), preferred_element_type=accumulator(x.dtype)
    )
    return finished(total, bias, x.dtype)
