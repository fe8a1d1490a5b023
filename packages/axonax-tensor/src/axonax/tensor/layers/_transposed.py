"""Transposed convolutions: the output has ``stride`` positions for each of the input. Channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor import names
from axonax.tensor.layers._arrays import Sizes, check_bias, per_axis, together
from axonax.tensor.layers._convolution import check_kernel, convolved
from axonax.tensor.layers._lowering import Convolution
from axonax.tensor.layers._windows import Pairs, Windows

_KINDS = {"valid": "valid", "same": "same"}


def conv_transpose(
    x: Shaped[ArrayLike, " batch *spatial channels"],
    kernel: Shaped[ArrayLike, "*window inputs units"],
    bias: Shaped[ArrayLike, " units"] | None = None,
    *,
    strides: Sizes = 1,
    padding: Literal["valid", "same"] | int | Sequence[int | tuple[int, int]] = "valid",
    output_padding: Sizes = 0,
    kernel_dilation: Sizes = 1,
    groups: int = 1,
) -> Shaped[Array, "batch *positions units"]:
    """Transposed convolution over one, two or three spatial axes.

    A convolution with stride 1 over the input with ``stride - 1`` zeros between its positions. The kernel has
    the layout that it has in `conv` and is not flipped; flipped along its window
    (``jnp.flip(kernel, range(kernel.ndim - 2))``) it gives what PyTorch and Keras give.

    Args:
        x: ``(batch, *spatial, in)``, no spatial axis empty.
        kernel: ``(*window, in / groups, out)``.
        bias: ``(out,)`` or none.
        strides: how far apart the positions of the input come to lie, one number or one for each axis.
        padding: ``"same"`` (``size * stride`` positions), ``"valid"`` (``size * stride + max(reach - stride,
            0)``, the reach being that of the dilated window), or how many zeros to put around the spread
            input: a number, or a number or a pair ``(front, behind)`` for each axis. PyTorch's padding ``p``,
            which cuts the output, is ``reach - 1 - p`` here.
        output_padding: so many further positions behind.
        kernel_dilation: the positions that the kernel sees are this many steps apart.
        groups: the channels are cut into so many groups, each with its share of the outputs.

    Returns:
        ``(batch, *positions, out)`` in the dtype that holds ``x`` and ``kernel``; half precision is summed as
        in `conv`.

    Raises:
        ValueError: shapes, options or groups that do not fit.

    Source: Dumoulin and Visin, A guide to convolution arithmetic for deep learning (2016), chapter 4.

    >>> import jax.numpy as jnp
    >>> conv_transpose(jnp.ones((1, 5, 5, 3)), jnp.ones((3, 3, 3, 8)), padding="same", strides=2).shape
    (1, 10, 10, 8)
    """
    op = "conv_transpose"
    x, kernel = together(x, kernel)
    axes = check_kernel(op, x.shape, kernel.shape)
    _check_groups(x.shape, kernel.shape, groups)
    check_bias(op, bias, kernel.shape[-1])
    windows = Windows(
        op=op,
        sizes=x.shape[1:-1],
        window=kernel.shape[:-2],
        strides=(1,) * axes,
        dilation=per_axis(op, "kernel_dilation", kernel_dilation, axes),
        input_dilation=per_axis(op, "strides", strides, axes),
    )
    more = per_axis(op, "output_padding", output_padding, axes, least=0)
    pads = zip(_pads(windows, padding), more, strict=True)
    how = Convolution(
        strides=windows.strides,
        pads=tuple((low, high + further) for (low, high), further in pads),
        input_dilation=windows.input_dilation,
        kernel_dilation=windows.dilation,
        groups=groups,
    )
    return convolved(x, kernel, bias, how)


def _pads(windows: Windows, padding: str | int | Sequence[int | tuple[int, int]]) -> Pairs:
    if not isinstance(padding, str):
        return windows.pads(padding)
    kind = names.lookup(_KINDS, padding, f"{windows.op} padding")
    pairs = zip(windows.reach, windows.input_dilation, strict=True)
    return tuple(_same(*pair) if kind == "same" else _valid(*pair) for pair in pairs)


def _valid(reach: int, stride: int) -> tuple[int, int]:
    return reach - 1, max(reach, stride) - 1


def _same(reach: int, stride: int) -> tuple[int, int]:
    total = reach + stride - 2
    front = min(reach - 1, -(-total // 2))
    return front, total - front


def _check_groups(came: tuple[int, ...], held: tuple[int, ...], groups: int) -> None:
    per_axis("conv_transpose", "groups", groups, 1)
    if 0 in came[1:-1]:
        raise ValueError(f"conv_transpose: spatial axes must not be empty, got {came}")
    if held[-2] * groups != came[-1] or held[-1] % groups:
        raise ValueError(
            f"conv_transpose: kernel {held} does not fit input {came} in {groups} groups: it must be "
            "(*window, in / groups, out), groups dividing both"
        )
