"""Recurrent layers over 64 steps."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from axonax.tensor import layers
from ops_cases.case import Case, peer

linen = peer("flax.linen")
keras = peer("keras")

_RANDOM = np.random.default_rng(89)
BATCH, TIME, INPUTS = 32, 64, 64


def _arrays(gates: int, units: int, biases: int) -> tuple[np.ndarray, ...]:
    """The inputs, both kernels, and the biases."""
    shapes = [(BATCH, TIME, INPUTS), (INPUTS, gates * units), (units, gates * units)]
    drawn = [_RANDOM.normal(size=shape).astype(np.float32) for shape in shapes]
    scaled = [drawn[0], *(0.1 * each for each in drawn[1:])]
    return *scaled, *(np.zeros(gates * units, np.float32) for _ in range(biases))


def lstm_by_hand(x: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    """The equations in a scan."""

    def step(carry: Any, x: Any) -> Any:
        c, h = carry
        i, f, g, o = jnp.split(x @ kernel + h @ recurrent + bias, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (c, h), h

    zeros = jnp.zeros((x.shape[0], recurrent.shape[0]))
    return jax.lax.scan(step, (zeros, zeros), x.swapaxes(0, 1))[1].swapaxes(0, 1)


def lstm_by_flax(x: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    """Linen's cell with fused products, its parameters by gate."""
    parts = [jnp.split(each, 4, -1) for each in (kernel, recurrent, bias)]
    cell: dict[str, Any] = {}
    for name, k, r, b in zip("ifgo", *parts, strict=True):
        cell |= {f"i{name}": {"kernel": k}, f"h{name}": {"kernel": r, "bias": b}}
    return linen.RNN(linen.OptimizedLSTMCell(recurrent.shape[0])).apply({"params": {"cell": cell}}, x)


def lstm_by_keras(layer: Any) -> Any:
    """Keras' layer with our arrays in place of its variables."""

    def call(x: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
        return layer.stateless_call([kernel, recurrent, bias], layer.non_trainable_variables, x)[0]

    return call


def lstm(units: int) -> Case:
    """Beside a scan by hand, Flax and Keras."""
    layer = keras.layers.LSTM(units, return_sequences=True)
    layer.build((BATCH, TIME, INPUTS))
    return Case(
        f"lstm {BATCH} x {TIME} x {INPUTS}, {units} units",
        lambda x, kernel, recurrent, bias: layers.lstm(
            x, {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias}
        )[0],
        {"JAX by hand": lstm_by_hand, "Flax": lstm_by_flax, "Keras": lstm_by_keras(layer)},
        _arrays(4, units, 1),
    )


def gru_by_hand(x: Any, kernel: Any, recurrent: Any, bias: Any, inner: Any) -> Any:
    """The equations in a scan, the reset behind the product."""

    def step(h: Any, x: Any) -> Any:
        r, z, n = jnp.split(x @ kernel + bias, 3, -1)
        hr, hz, hn = jnp.split(h @ recurrent + inner, 3, -1)
        z = jax.nn.sigmoid(z + hz)
        n = jnp.tanh(n + jax.nn.sigmoid(r + hr) * hn)
        h = (1 - z) * n + z * h
        return h, h

    zeros = jnp.zeros((x.shape[0], recurrent.shape[0]))
    return jax.lax.scan(step, zeros, x.swapaxes(0, 1))[1].swapaxes(0, 1)


def gru(units: int) -> Case:
    """Beside a scan by hand."""
    names = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")
    return Case(
        f"gru {BATCH} x {TIME} x {INPUTS}, {units} units",
        lambda x, *arrays: layers.gru(x, dict(zip(names, arrays, strict=True)))[0],
        {"JAX by hand": gru_by_hand},
        _arrays(3, units, 2),
    )


CASES = [lstm(64), lstm(128), lstm(256), gru(64), gru(128), gru(256)]
