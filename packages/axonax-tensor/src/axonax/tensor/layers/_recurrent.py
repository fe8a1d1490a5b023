"""Recurrent layers over a sequence ``(batch, time, in)``.

The product with the inputs is made once, ahead of the steps, and the gradient of the recurrent kernel once,
behind them. Half precision is computed and carried in float32 from the first step to the last, and rounded
once.
"""

from __future__ import annotations

from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Shaped

from axonax.tensor.layers._recurrence import Unrolling
from axonax.tensor.layers._recurrent_cells import State
from axonax.tensor.layers._recurrent_checks import Params
from axonax.tensor.layers._recurrent_steps import Activation, gru_step, lstm_step, rnn_step, sequence

Sequence = Shaped[ArrayLike, "batch time inputs"]
NewCarry = tuple[Shaped[Array, "batch units"], Shaped[Array, "batch units"]]
Mask = Bool[ArrayLike, "batch time"]


def lstm(
    x: Sequence,
    params: Params,
    carry: tuple[State, State] | None = None,
    *,
    gate: Activation = "sigmoid",
    activation: Activation = "tanh",
    mask: Mask | None = None,
    reverse: bool = False,
    mode: str = "scan",
    remat: bool = False,
) -> tuple[
    Shaped[Array, "batch time units"], tuple[Shaped[Array, "batch units"], Shaped[Array, "batch units"]]
]:
    """Long short-term memory over a sequence: `lstm_cell` at each step.

    Args:
        x: ``(batch, time, in)``.
        params: ``kernel`` ``(in, 4 units)``, ``recurrent_kernel`` ``(units, 4 units)`` and, if there is one,
            ``bias`` ``(4 units,)``; gates in the order i, f, g, o.
        carry: ``(c, h)`` to start from, each ``(batch, units)``; zeros if none.
        gate: activation of the gates, a name or a function of an array.
        activation: activation of the candidate and of the cell.
        mask: bool ``(batch, time)`` or none: which steps count. One that does not leaves the carry as it is,
            and its output is the ``h`` before it.
        reverse: go from the last step to the first; outputs stand where their inputs do.
        mode: ``"scan"`` compiles one step, ``"static"`` writes all of them out.
        remat: keep the carry of each step alone for the gradient, and compute the rest anew.

    Returns:
        ``(outputs, (c, h))``: all ``h``, ``(batch, time, units)``, in the dtype that holds ``x`` and the
        parameters, and the last carry, in the dtype of the first.

    Raises:
        ValueError: shapes that do not fit, or a name that is not known.

    Source: Hochreiter and Schmidhuber, Long Short-Term Memory (1997); the forget gate of Gers et al. (2000).

    >>> from jax.numpy import ones
    >>> params = {"kernel": ones((3, 8)), "recurrent_kernel": ones((2, 8))}
    >>> outputs, (c, h) = lstm(ones((1, 5, 3)), params)
    >>> outputs.shape, bool((outputs[:, -1] == h).all())
    ((1, 5, 2), True)
    """
    how = Unrolling(reverse=reverse, mode=mode, remat=remat)
    return sequence("lstm", lstm_step(gate, activation), x, params, carry, mask, how)


def gru(
    x: Sequence,
    params: Params,
    carry: State | None = None,
    *,
    reset_after: bool = True,
    gate: Activation = "sigmoid",
    activation: Activation = "tanh",
    mask: Mask | None = None,
    reverse: bool = False,
    mode: str = "scan",
    remat: bool = False,
) -> tuple[Shaped[Array, "batch time units"], Shaped[Array, "batch units"]]:
    """Gated recurrent units over a sequence: `gru_cell` at each step.

    Args:
        x: ``(batch, time, in)``.
        params: ``kernel`` ``(in, 3 units)``, ``recurrent_kernel`` ``(units, 3 units)`` and, if there are any,
            ``bias`` and, with ``reset_after`` alone, ``recurrent_bias``, each ``(3 units,)``; gates in the
            order r, z, n.
        carry: ``h`` to start from, ``(batch, units)``; zeros if none.
        reset_after: reset the recurrent product rather than the state that goes into it.
        gate: activation of the gates, a name or a function of an array.
        activation: activation of the candidate.
        mask: bool ``(batch, time)`` or none: which steps count. One that does not leaves the carry as it is,
            and its output is the ``h`` before it.
        reverse: go from the last step to the first; outputs stand where their inputs do.
        mode: ``"scan"`` compiles one step, ``"static"`` writes all of them out.
        remat: keep the carry of each step alone for the gradient, and compute the rest anew.

    Returns:
        ``(outputs, h)``: all ``h``, ``(batch, time, units)``, in the dtype that holds ``x`` and the
        parameters, and the last, in the dtype of the first.

    Raises:
        ValueError: shapes that do not fit, or a name that is not known.

    Source: Cho et al., Learning Phrase Representations using RNN Encoder-Decoder (2014), equations 5 to 8.

    >>> from jax.numpy import ones
    >>> params = {"kernel": ones((3, 6)), "recurrent_kernel": ones((2, 6))}
    >>> gru(ones((1, 5, 3)), params)[0].shape
    (1, 5, 2)
    """
    how = Unrolling(reverse=reverse, mode=mode, remat=remat)
    return sequence("gru", gru_step(gate, activation, reset_after), x, params, carry, mask, how)


def rnn(
    x: Sequence,
    params: Params,
    carry: State | None = None,
    *,
    activation: Activation = "tanh",
    mask: Mask | None = None,
    reverse: bool = False,
    mode: str = "scan",
    remat: bool = False,
) -> tuple[Shaped[Array, "batch time units"], Shaped[Array, "batch units"]]:
    """A plain recurrent layer over a sequence: `rnn_cell` at each step.

    Args:
        x: ``(batch, time, in)``.
        params: ``kernel`` ``(in, units)``, ``recurrent_kernel`` ``(units, units)`` and, if there is one,
            ``bias`` ``(units,)``.
        carry: ``h`` to start from, ``(batch, units)``; zeros if none.
        activation: a name or a function of an array.
        mask: bool ``(batch, time)`` or none: which steps count. One that does not leaves the carry as it is,
            and its output is the ``h`` before it.
        reverse: go from the last step to the first; outputs stand where their inputs do.
        mode: ``"scan"`` compiles one step, ``"static"`` writes all of them out.
        remat: keep the carry of each step alone for the gradient, and compute the rest anew.

    Returns:
        ``(outputs, h)``: all ``h``, ``(batch, time, units)``, in the dtype that holds ``x`` and the
        parameters, and the last, in the dtype of the first.

    Raises:
        ValueError: shapes that do not fit, or a name that is not known.

    Source: Elman, Finding Structure in Time (1990).

    >>> from jax.numpy import ones
    >>> params = {"kernel": ones((3, 2)), "recurrent_kernel": ones((2, 2)) * 0}
    >>> rnn(ones((1, 2, 3)), params, activation="relu")[0].tolist()
    [[[3.0, 3.0], [3.0, 3.0]]]
    """
    how = Unrolling(reverse=reverse, mode=mode, remat=remat)
    return sequence("rnn", rnn_step(activation), x, params, carry, mask, how)
