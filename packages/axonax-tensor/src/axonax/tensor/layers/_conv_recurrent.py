"""LSTM whose products are convolutions, a step and a sequence."""

from __future__ import annotations

import functools
from typing import Any

import jax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Shaped

from axonax.tensor.layers._arrays import Sizes
from axonax.tensor.layers._convolution import conv
from axonax.tensor.layers._recurrence import Recurrence, Unrolling
from axonax.tensor.layers._recurrent_checks import Params
from axonax.tensor.layers._recurrent_steps import Activation, lstm_update, sequence, stepped
from axonax.tensor.layers._windows import Padding

State = Shaped[ArrayLike, "batch *positions units"]
NewCarry = tuple[Shaped[Array, "batch *positions units"], Shaped[Array, "batch *positions units"]]


def conv_lstm_cell(
    carry: tuple[State, State],
    x: Shaped[ArrayLike, "batch *spatial inputs"],
    params: Params,
    *,
    strides: Sizes = 1,
    padding: Padding = "same",
    gate: Activation = "sigmoid",
    activation: Activation = "tanh",
) -> tuple[
    NewCarry,
    Shaped[Array, "batch *positions units"],
]:
    """One step of a convolutional LSTM: `lstm_cell` with convolutions for its products, without peepholes.

    ``i, f, g, o = split(conv(x, kernel) + conv(h, recurrent_kernel) + bias)``

    Args:
        carry: ``(c, h)``, each ``(batch, *positions, units)``, the positions of ``conv(x, kernel)``.
        x: ``(batch, *spatial, in)``, one to three spatial axes.
        params: ``kernel`` ``(*window, in, 4 units)``, ``recurrent_kernel`` ``(*window, units, 4 units)``
            and, if there is one, ``bias`` ``(4 units,)``; gates in the order i, f, g, o.
        strides: of the convolution of ``x``.
        padding: of the convolution of ``x``, as in `conv`; that of ``h`` keeps its positions.
        gate: activation of the gates, a name or a function of an array.
        activation: activation of the candidate and of the cell.

    Returns:
        ``((c', h'), h')``: the carry in the dtypes of the old one, the output ``(batch, *positions, units)``
        in the dtype that holds ``x`` and the parameters; half precision is computed in float32.

    Raises:
        ValueError: shapes that do not fit, or a name that is not known.

    Source: Shi et al., Convolutional LSTM Network (2015), equation 3, without peepholes.

    >>> ones = jax.numpy.ones
    >>> params = {"kernel": ones((3, 2, 4)), "recurrent_kernel": ones((3, 1, 4))}
    >>> conv_lstm_cell((ones((1, 5, 1)), ones((1, 5, 1))), ones((1, 5, 2)), params)[1].shape
    (1, 5, 1)
    """
    return stepped("conv_lstm_cell", _step(gate, activation, strides, padding), carry, x, params)


def conv_lstm(
    x: Shaped[ArrayLike, "batch time *spatial inputs"],
    params: Params,
    carry: tuple[State, State] | None = None,
    *,
    strides: Sizes = 1,
    padding: Padding = "same",
    gate: Activation = "sigmoid",
    activation: Activation = "tanh",
    mask: Bool[ArrayLike, "batch time"] | None = None,
    reverse: bool = False,
    mode: str = "scan",
    remat: bool = False,
) -> tuple[
    Shaped[Array, "batch time *positions units"],
    NewCarry,
]:
    """A convolutional LSTM over a sequence: `conv_lstm_cell` at each step.

    Args:
        x: ``(batch, time, *spatial, in)``, one to three spatial axes.
        params: as in `conv_lstm_cell`.
        carry: ``(c, h)`` to start from, each ``(batch, *positions, units)``; zeros if none.
        strides: of the convolution of ``x``.
        padding: of the convolution of ``x``, as in `conv`; that of ``h`` keeps its positions.
        gate: activation of the gates, a name or a function of an array.
        activation: activation of the candidate and of the cell.
        mask: bool ``(batch, time)`` or none: which steps count. One that does not leaves the carry as it is,
            and its output is the ``h`` before it.
        reverse: go from the last step to the first; outputs stand where their inputs do.
        mode: ``"scan"`` compiles one step, ``"static"`` writes all of them out.
        remat: keep the carry of each step alone for the gradient, and compute the rest anew.

    Returns:
        ``(outputs, (c, h))``: all ``h``, ``(batch, time, *positions, units)``, in the dtype that holds ``x``
        and the parameters, and the last carry, in the dtype of the first.

    Raises:
        ValueError: shapes that do not fit, or a name that is not known.

    Source: Shi et al., Convolutional LSTM Network (2015), equation 3, without peepholes.

    >>> ones = jax.numpy.ones
    >>> params = {"kernel": ones((3, 3, 2, 4)), "recurrent_kernel": ones((3, 3, 1, 4))}
    >>> conv_lstm(ones((1, 6, 5, 5, 2)), params)[0].shape
    (1, 6, 5, 5, 1)
    """
    how = Unrolling(reverse=reverse, mode=mode, remat=remat)
    return sequence("conv_lstm", _step(gate, activation, strides, padding), x, params, carry, mask, how)


def _step(gate: Activation, activation: Activation, strides: Sizes, padding: Padding) -> Recurrence:
    def arrange(given: dict[str, jax.Array], x: jax.Array) -> Any:
        slots = conv(x, given["kernel"], strides=strides, padding=padding)
        return (given["recurrent_kernel"], given.get("bias"), None), (slots, None)

    return Recurrence(
        gates=4,
        states=2,
        update=lstm_update(gate, activation),
        arrange=arrange,
        multiply=functools.partial(conv, padding="same"),
    )
