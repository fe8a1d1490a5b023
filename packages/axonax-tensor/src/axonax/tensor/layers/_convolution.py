"""Convolutions (cross-correlations: kernels are not flipped). Channels last."""

from __future__ import annotations

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor.layers._arrays import Sizes, check_bias, finished, per_axis, together
from axonax.tensor.layers._lowering import Convolution, convolve
from axonax.tensor.layers._windows import Padding, Windows

_MOST_AXES = 3


def conv(
    x: Shaped[ArrayLike, " batch *spatial channels"],
    kernel: Shaped[ArrayLike, "*window inputs units"],
    bias: Shaped[ArrayLike, " units"] | None = None,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    input_dilation: Sizes = 1,
    kernel_dilation: Sizes = 1,
    groups: int = 1,
    batch_groups: int = 1,
) -> Shaped[Array, "grouped *positions units"]:
    """Convolution over one, two or three spatial axes.

    ``y[b, p, o] = bias[o] + sum over k, i of x[b, p * stride + k, i] * kernel[k, i, o]``

    Args:
        x: ``(batch, *spatial, in)``.
        kernel: ``(*window, in / groups, out)``.
        bias: ``(out,)`` or none.
        strides: steps of the window, one number or one for each spatial axis.
        padding: ``"valid"`` (none), ``"same"`` (the output has ``ceil(input / stride)`` positions),
            ``"causal"`` (in front, so that no output sees what comes after it; one spatial axis), a
            number, or a number or a pair ``(front, behind)`` for each spatial axis.
        input_dilation: zeros are put between the inputs, this many steps apart.
        kernel_dilation: the inputs that the kernel sees are this many steps apart.
        groups: the channels are cut into so many groups, each with its share of the outputs.
        batch_groups: the batch is cut into so many groups, each with its share of the outputs.

    Returns:
        ``(batch / batch_groups, *positions, out)`` in the dtype that holds ``x`` and ``kernel``; half
        precision is summed in float32, and rounded once on a CPU, before and after the bias elsewhere.

    Raises:
        ValueError: shapes, options or groups that do not fit.

    >>> conv(jax.numpy.ones((1, 5, 5, 3)), jax.numpy.ones((3, 3, 3, 8)), padding="same", strides=2).shape
    (1, 3, 3, 8)
    """
    x, kernel = together(x, kernel)
    axes = check_kernel("conv", x.shape, kernel.shape)
    _check_groups(x.shape, kernel.shape, groups, batch_groups)
    check_bias("conv", bias, kernel.shape[-1])
    windows = Windows(
        op="conv",
        sizes=x.shape[1:-1],
        window=kernel.shape[:-2],
        strides=per_axis("conv", "strides", strides, axes),
        dilation=per_axis("conv", "kernel_dilation", kernel_dilation, axes),
        input_dilation=per_axis("conv", "input_dilation", input_dilation, axes),
    )
    how = Convolution(
        strides=windows.strides,
        pads=windows.pads(padding),
        input_dilation=windows.input_dilation,
        kernel_dilation=windows.dilation,
        groups=groups,
        batch_groups=batch_groups,
    )
    return convolved(x, kernel, bias, how)


def convolved(x: jax.Array, kernel: jax.Array, bias: ArrayLike | None, how: Convolution) -> jax.Array:
    """The convolution of arrays of one dtype, plus a bias, in that dtype."""
    return finished(convolve(x, kernel, how), bias, x.dtype)


def check_kernel(op: str, came: tuple[int, ...], held: tuple[int, ...]) -> int:
    """How many spatial axes there are: 1 to 3, as many as the window has, or a ValueError."""
    axes = len(came) - 2
    if not 1 <= axes <= _MOST_AXES or len(held) != len(came):
        raise ValueError(
            f"{op}: input must be (batch, *spatial, in) and kernel (*window, in / groups, out) with 1 to 3 "
            f"spatial axes, got input {came} and kernel {held}"
        )
    return axes


def _check_groups(came: tuple[int, ...], held: tuple[int, ...], groups: int, batch_groups: int) -> None:
    (batch, *_, channels), (*_, per_group, out) = came, held
    per_axis("conv", "groups", groups, 1)
    per_axis("conv", "batch_groups", batch_groups, 1)
    if groups > 1 and batch_groups > 1:
        raise ValueError(
            f"conv: groups and batch_groups cannot both be above 1, got {groups}, {batch_groups}"
        )
    if per_group * groups != channels:
        by = f" in {groups} groups" if groups > 1 else ""
        raise ValueError(f"conv: kernel {held} does not fit input {came}{by}")
    if out % groups or out % batch_groups or batch % batch_groups:
        raise ValueError(
            f"conv: groups must divide the outputs, and batch_groups the outputs and the batch, got "
            f"groups {groups}, batch_groups {batch_groups}, outputs {out}, batch {batch}"
        )
