"""What recurrent layers refuse, by message, and what they hand back."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.tensor import layers

X = jnp.ones((2, 3, 4))
PARAMS = {"kernel": jnp.ones((4, 8)), "recurrent_kernel": jnp.ones((2, 8))}
GRU = {"kernel": jnp.ones((4, 6)), "recurrent_kernel": jnp.ones((2, 6))}
CONV = {"kernel": jnp.ones((3, 4, 8)), "recurrent_kernel": jnp.ones((3, 2, 8))}
STATE = jnp.zeros((2, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.lstm(X, {}), r"lstm: params must have kernel and recurrent_kernel, .* got none"),
        (
            lambda: layers.lstm(X, PARAMS | {"beta": STATE}),
            r"may have bias, got beta, kernel",
        ),
        (
            lambda: layers.gru(X, GRU | {"recurrent_bias": jnp.ones(6)}, reset_after=False),
            r"gru: params must .*got kernel, recurrent_bias",
        ),
        (
            lambda: layers.lstm(X, GRU),
            r"lstm: kernel must be \(\.\.\., in, 4 units\) .*, got \(4, 6\) and \(2, 6\)",
        ),
        (
            lambda: layers.rnn(X, {"kernel": X, "recurrent_kernel": jnp.ones(2)}),
            r"rnn: kernel .* \(2,\)",
        ),
        (lambda: layers.lstm(X, PARAMS | {"bias": jnp.ones(2)}), r"lstm: bias must be \(8,\), got \(2,\)"),
        (
            lambda: layers.gru(X, GRU | {"recurrent_bias": jnp.ones(2)}),
            r"gru: recurrent_bias must be \(6,\), got \(2,\)",
        ),
        (
            lambda: layers.lstm(X[0], PARAMS),
            r"lstm: input must be \(batch, time, in\) for kernel \(4, 8\), got \(3, 4\)",
        ),
        (
            lambda: layers.gru_cell(STATE, X[0, :, :2], GRU),
            r"gru_cell: input must be \(batch, in\) for",
        ),
        (
            lambda: layers.conv_lstm(X, CONV),
            r"conv_lstm: input must be \(batch, time, \*spatial, in\) for kernel \(3, 4, 8\)",
        ),
        (
            lambda: layers.lstm(X, PARAMS, STATE),
            r"lstm: carry must be a tuple of arrays, \[\(2, 2\), \(2, 2\)\], got ArrayImpl, \[\(2, 2\)\]",
        ),
        (
            lambda: layers.gru(X, GRU, STATE[:1]),
            r"gru: carry must be one array, \[\(2, 2\)\], got .*1, 2",
        ),
        (
            lambda: layers.lstm(X, PARAMS, mask=jnp.ones((2, 2), bool)),
            r"lstm: mask must be bool \(2, 3\), \(batch, time\), got bool \(2, 2\)",
        ),
        (
            lambda: layers.lstm(X, PARAMS, mask=jnp.ones((2, 3))),
            r"mask must be bool .* got float32",
        ),
        (lambda: layers.lstm(X, PARAMS, mode="stat"), r'unknown mode "stat": did you mean "static"'),
        (
            lambda: layers.lstm(X, PARAMS, gate="sigmoyd"),
            r'unknown activation "sigmoyd": did you',
        ),
        (
            lambda: layers.unroll(lambda c, x: (c, x), 0, jnp.ones(3)),
            r"unroll: xs must be .*\[\(3,\)\]",
        ),
        (lambda: layers.unroll(lambda c, x: (c, x), 0, (X, X[:, :2])), r"unroll: xs must be .*of one length"),
        (lambda: layers.unroll(lambda c, x: (c, x), 0, {}), r"unroll: xs must be arrays .* got \[\]"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("mode", ["scan", "static"])
@pytest.mark.parametrize("reverse", [False, True])
def test_a_layer_is_its_cell_unrolled(mode, reverse):
    random = np.random.default_rng(0)
    params = {name: random.normal(size=each.shape).astype(np.float32) for name, each in PARAMS.items()}
    x = random.normal(size=X.shape).astype(np.float32)
    mask = jnp.array([[True, False, True], [False, True, True]])
    cell = functools.partial(layers.lstm_cell, params=params)
    unrolled = functools.partial(layers.unroll, mask=mask, reverse=reverse, mode=mode)
    found, last = jax.jit(lambda x: unrolled(cell, (STATE, STATE), x))(x)
    expected, end = jax.jit(lambda x: layers.lstm(x, params, mask=mask, reverse=reverse))(x)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-7), last, end)


def test_a_cell_keeps_the_dtype_of_its_carry():
    half = jax.tree.map(lambda each: each.astype(jnp.bfloat16), (X[:, 0], PARAMS))
    (c, h), y = layers.lstm_cell((STATE, STATE), *half)
    assert (c.dtype, h.dtype, y.dtype) == (jnp.float32, jnp.float32, jnp.bfloat16)


def test_the_gradient_of_the_kernel_is_one_product():
    """No step of the reverse pass holds an array of the kernel's shape that it adds up."""

    def loss(params):
        return jnp.sum(layers.lstm(X, params)[0])

    jaxpr = jax.make_jaxpr(jax.grad(loss))(PARAMS)
    scans = [each for each in jaxpr.eqns if each.primitive.name == "scan"]
    carried = [each.params["num_carry"] for each in scans]
    shapes = [
        out.aval.shape for each, count in zip(scans, carried, strict=True) for out in each.outvars[:count]
    ]
    assert scans
    assert PARAMS["recurrent_kernel"].shape not in shapes


@pytest.mark.parametrize("layer", [layers.lstm, layers.gru])
def test_long_sequences_make_again_what_short_ones_keep(layer, monkeypatch):
    params = GRU if layer is layers.gru else PARAMS

    def slopes():
        loss = lambda params, x: jnp.sum(layer(x, params)[0] ** 2)  # noqa: E731
        return jax.jit(jax.value_and_grad(loss, (0, 1)))(params, X)

    kept = slopes()
    monkeypatch.setattr("axonax.tensor.layers._recurrence._MANY", 0)
    made = slopes()
    jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5), kept, made)
