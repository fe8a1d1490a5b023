"""One step of a recurrent layer: ``(carry, x, params) -> (carry, y)``.

Half precision is computed in float32. The new carry has the dtype of the old one: start from a float32 carry,
and a thousand steps over half precision do not drift.
"""

from __future__ import annotations

from jax.typing import ArrayLike
from jaxtyping import Array, Shaped

from axonax.tensor.layers._recurrent_checks import Params
from axonax.tensor.layers._recurrent_steps import Activation, gru_step, lstm_step, rnn_step, stepped

State = Shaped[ArrayLike, "batch units"]


def lstm_cell(
    carry: tuple[State, State],
    x: Shaped[ArrayLike, "batch inputs"],
    params: Params,
    *,
    gate: Activation = "sigmoid",
    activation: Activation = "tanh",
) -> tuple[tuple[Shaped[Array, "batch units"], Shaped[Array, "batch units"]], Shaped[Array, "batch units"]]:
    """One step of a long short-term memory.

    ``i, f, g, o = split(x @ kernel + h @ recurrent_kernel + bias)``,
    ``c' = gate(f) * c + gate(i) * activation(g)``, ``h' = gate(o) * activation(c')``

    Args:
        carry: ``(c, h)``, each ``(batch, units)``.
        x: ``(batch, in)``.
        params: ``kernel`` ``(in, 4 units)``, ``recurrent_kernel`` ``(units, 4 units)`` and, if there is one,
            ``bias`` ``(4 units,)``; gates in the order i, f, g, o.
        gate: activation of the gates, a name or a function of an array.
        activation: activation of the candidate and of the cell.

    Returns:
        ``((c', h'), h')``: the carry in the dtypes of the old one, the output ``(batch, units)`` in the dtype
        that holds ``x`` and the kernels; half precision is computed in float32.

    Raises:
        ValueError: shapes that do not fit, names of parameters or activations that are not known.

    Source: Hochreiter and Schmidhuber, Long Short-Term Memory (1997); the forget gate of Gers et al. (2000).

    >>> from jax.numpy import ones
    >>> params = {"kernel": ones((3, 8)), "recurrent_kernel": ones((2, 8))}
    >>> linear = {"gate": "linear", "activation": "linear"}
    >>> (c, h), y = lstm_cell((ones((1, 2)), ones((1, 2))), ones((1, 3)), params, **linear)
    >>> c.tolist(), y.tolist()
    ([[30.0, 30.0]], [[150.0, 150.0]])
    """
    return stepped("lstm_cell", lstm_step(gate, activation), carry, x, params)


def rnn_cell(
    carry: State,
    x: Shaped[ArrayLike, "batch inputs"],
    params: Params,
    *,
    activation: Activation = "tanh",
) -> tuple[Shaped[Array, "batch units"], Shaped[Array, "batch units"]]:
    """One step of a plain recurrent layer: ``h' = activation(x @ kernel + h @ recurrent_kernel + bias)``.

    Args:
        carry: ``h``, ``(batch, units)``.
        x: ``(batch, in)``.
        params: ``kernel`` ``(in, units)``, ``recurrent_kernel`` ``(units, units)`` and, if there is one,
            ``bias`` ``(units,)``.
        activation: a name or a function of an array.

    Returns:
        ``(h', h')``: the carry in the dtype of the old one, the output in the dtype that holds ``x`` and the
        kernels; half precision is computed in float32.

    Raises:
        ValueError: shapes that do not fit, names of parameters or activations that are not known.

    Source: Elman, Finding Structure in Time (1990).

    >>> from jax.numpy import ones
    >>> params = {"kernel": ones((3, 2)), "recurrent_kernel": ones((2, 2))}
    >>> rnn_cell(ones((1, 2)) * 0, ones((1, 3)), params, activation="relu")[1].tolist()
    [[3.0, 3.0]]
    """
    return stepped("rnn_cell", rnn_step(activation), carry, x, params)


def gru_cell(
    carry: State,
    x: Shaped[ArrayLike, "batch inputs"],
    params: Params,
    *,
    reset_after: bool = True,
    gate: Activation = "sigmoid",
    activation: Activation = "tanh",
) -> tuple[Shaped[Array, "batch units"], Shaped[Array, "batch units"]]:
    """One step of a gated recurrent unit.

    ``r, z = gate(x @ kernel + h @ recurrent_kernel + bias)``, each with its part;
    ``h' = (1 - z) * n + z * h``. The candidate ``n`` resets after the recurrent product (as cuDNN has it),
    ``activation(x @ kernel + bias + r * (h @ recurrent_kernel + recurrent_bias))``, or before it (as the
    paper has it), ``activation(x @ kernel + bias + (r * h) @ recurrent_kernel)``.

    Args:
        carry: ``h``, ``(batch, units)``.
        x: ``(batch, in)``.
        params: ``kernel`` ``(in, 3 units)``, ``recurrent_kernel`` ``(units, 3 units)`` and, if there are any,
            ``bias`` and, with ``reset_after`` alone, ``recurrent_bias``, each ``(3 units,)``; gates in the
            order r, z, n.
        reset_after: reset the recurrent product rather than the state that goes into it.
        gate: activation of the gates, a name or a function of an array.
        activation: activation of the candidate.

    Returns:
        ``(h', h')``: the carry in the dtype of the old one, the output in the dtype that holds ``x`` and the
        parameters; half precision is computed in float32.

    Raises:
        ValueError: shapes that do not fit, names of parameters or activations that are not known.

    Source: Cho et al., Learning Phrase Representations using RNN Encoder-Decoder (2014), equations 5 to 8.

    >>> from jax.numpy import ones
    >>> params = {"kernel": ones((3, 6)), "recurrent_kernel": ones((2, 6))}
    >>> gru_cell(ones((1, 2)), ones((1, 3)), params, gate="linear", activation="linear")[1].tolist()
    [[-47.0, -47.0]]
    """
    return stepped("gru_cell", gru_step(gate, activation, reset_after), carry, x, params)
