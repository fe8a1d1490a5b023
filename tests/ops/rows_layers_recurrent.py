"""Rows of ``axonax.tensor.layers``: recurrent cells and layers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ops.row import REDUCTION, Case, OpRow, case
from ops.rows_layers_windows import conv

_RANDOM = np.random.default_rng(47)
Cell = Callable[..., tuple[Any, np.ndarray]]
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "softsign": lambda x: x / (1 + abs(x)),
}


def _array(*shape: int) -> np.ndarray:
    return _RANDOM.normal(size=shape) * 0.7


def params(gates: int, units: int, inputs: int, *biases: str, window: tuple[int, ...] = ()) -> dict[str, Any]:
    """Random parameters of a layer."""
    out = gates * units
    kernels = {"kernel": (*window, inputs, out), "recurrent_kernel": (*window, units, out)}
    return {name: _array(*shape) for name, shape in kernels.items()} | {name: _array(out) for name in biases}


def lstm_cell(
    carry: Any,
    x: np.ndarray,
    params: Any,
    *,
    gate: str = "sigmoid",
    activation: str = "tanh",
    product: Any = np.matmul,
    project: Any = np.matmul,
) -> Any:
    c, h = carry
    total = project(x, params["kernel"]) + product(h, params["recurrent_kernel"]) + params.get("bias", 0.0)
    i, f, g, o = np.split(total, 4, -1)
    gated, activated = FUNCTIONS[gate], FUNCTIONS[activation]
    c = gated(f) * c + gated(i) * activated(g)
    h = gated(o) * activated(c)
    return (c, h), h


def gru_cell(
    carry: Any,
    x: np.ndarray,
    params: Any,
    *,
    reset_after: bool = True,
    gate: str = "sigmoid",
    activation: str = "tanh",
) -> Any:
    """Gate by gate, each with its own kernels."""
    kernels = np.split(params["kernel"], 3, -1)
    recurrent = np.split(params["recurrent_kernel"], 3, -1)
    zero = np.zeros(params["kernel"].shape[-1])
    biases = np.split(params.get("bias", zero), 3)
    inner = np.split(params.get("recurrent_bias", zero), 3)
    r, z = (FUNCTIONS[gate](x @ kernels[k] + biases[k] + carry @ recurrent[k] + inner[k]) for k in range(2))
    inward = r * (carry @ recurrent[2] + inner[2]) if reset_after else (r * carry) @ recurrent[2]
    n = FUNCTIONS[activation](x @ kernels[2] + biases[2] + inward)
    h = z * carry + (1 - z) * n
    return h, h


def rnn_cell(carry: Any, x: np.ndarray, params: Any, *, activation: str = "tanh") -> Any:
    total = x @ params["kernel"] + carry @ params["recurrent_kernel"] + params.get("bias", 0.0)
    h = FUNCTIONS[activation](total)
    return h, h


def conv_lstm_cell(
    carry: Any, x: np.ndarray, params: Any, *, strides: Any = 1, padding: Any = "same", **names: str
) -> Any:
    same = functools.partial(conv, padding="same")
    project = functools.partial(conv, strides=strides, padding=padding)
    return lstm_cell(carry, x, params, product=same, project=project, **names)


def loop(
    cell: Cell, carry: Any, x: Any, mask: Any = None, reverse: bool = False, output: Any = None
) -> tuple[np.ndarray, Any]:
    """A loop over time and over the examples of the batch, one at a time."""
    rows, ends = [], []
    for b in range(len(x)):
        state = jax.tree.map(lambda each, b=b: each[b : b + 1], carry)
        before = state[-1] if isinstance(state, tuple) else state
        before = before if output is None else output
        ys = [before] * x.shape[1]
        for t in reversed(range(x.shape[1])) if reverse else range(x.shape[1]):
            if mask is None or mask[b, t]:
                state, before = cell(state, x[b : b + 1, t])
            ys[t] = before
        rows.append(np.stack(ys, 1) if ys else np.zeros((1, 0, *before.shape[1:])))
        ends.append(state)
    return np.concatenate(rows), jax.tree.map(lambda *each: np.concatenate(each), *ends)


def over(cell: Any, states: int) -> Callable[..., Any]:
    """The oracle of a whole layer."""

    def layer(
        x: np.ndarray,
        params: Any,
        carry: Any = None,
        *,
        mask: Any = None,
        reverse: bool = False,
        mode: str = "scan",
        remat: bool = False,
        **options: Any,
    ) -> Any:
        if carry is None:
            units = params["recurrent_kernel"].shape[-2]
            zeros = np.zeros((len(x), *x.shape[2:-1], units))
            carry = (zeros,) * states if states > 1 else zeros
        return loop(lambda state, step: cell(state, step, params, **options), carry, x, mask, reverse)

    return layer


def decaying(carry: Any, x: Any) -> Any:
    """A cell of its own for `unroll`."""
    carry = {"sum": 0.5 * carry["sum"] + jnp.sin(x)}
    return carry, carry["sum"] * x


def decaying_loop(cell: Any, carry: Any, xs: np.ndarray, **options: Any) -> Any:
    def step(state: Any, x: np.ndarray) -> Any:
        state = {"sum": 0.5 * state["sum"] + np.sin(x)}
        return state, state["sum"] * x

    options = {name: each for name, each in options.items() if name in ("mask", "reverse")}
    return loop(step, carry, xs, output=np.zeros((1, *xs.shape[2:])), **options)


X, H, C = _array(3, 5, 2), _array(3, 4), _array(3, 4)
MASK = np.array([[True] * 5, [False, True, True, False, True], [True, True, False, False, False]])
LSTM, GRU, RNN = params(4, 4, 2, "bias"), params(3, 4, 2, "bias", "recurrent_bias"), params(1, 4, 2, "bias")
GRU_BEFORE = {name: each for name, each in GRU.items() if name != "recurrent_bias"}
PLAIN = {name: each for name, each in LSTM.items() if name != "bias"}
IMAGES = _array(2, 3, 4, 5, 2)
CONV = params(4, 2, 2, "bias", window=(3, 3))
STATE, PART = _array(2, 4, 5, 2), _array(2, 2, 3, 2)


def of_layer(first: Case, weights: Any, carry: Any) -> tuple[Case, ...]:
    """The options that every layer has."""
    return (
        first,
        case(X, weights),
        case(X, weights, carry, mask=MASK),
        case(X, weights, carry, mask=MASK, reverse=True, mode="static"),
        case(X, weights, carry, reverse=True, remat=True),
        case(X[:1], weights, mask=MASK[1:2], mode="static", remat=True),
        case(X[:, :0], weights, carry),
        case(X[:, :0], weights, mode="static"),
    )


def ways_agree(op: Any, weights: Any) -> None:
    """Remat and the reversed over the flipped through 64 steps; written out, through 5: with gradients."""
    random = np.random.default_rng(3)
    x = jnp.asarray(random.normal(size=(2, 64, 2)), jnp.float32)
    mask = jnp.asarray(random.random((2, 64)) < 0.8)
    held = jax.tree.map(lambda each: jnp.asarray(each, jnp.float32), weights)

    def gradients(steps: int, **options: Any) -> Any:
        def value(held: Any, x: Any) -> Any:
            flip = (lambda each: each[:, ::-1]) if options.get("reverse") else (lambda each: each)
            ys, _ = op(flip(x), held, mask=flip(mask[:, :steps]), **options)
            return jnp.sum(jnp.cos(flip(ys)) * (1 + jnp.arange(float(steps)))[None, :, None])

        return jax.grad(value, (0, 1))(held, x[:, :steps])

    @jax.jit
    def every() -> Any:
        return (
            (gradients(64), gradients(64), gradients(5)),
            (gradients(64, remat=True), gradients(64, reverse=True), gradients(5, mode="static")),
        )

    near(*every())


def near(found: Any, expected: Any) -> None:
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, two, rtol=2e-4, atol=2e-4 * float(jnp.abs(two).max()))


def masked_is_cut(op: Any, weights: Any) -> None:
    """A mask from the right or the left is the sequence without what it hides, which may be NaN."""
    held = jax.tree.map(lambda each: jnp.asarray(each, jnp.float32), weights)
    x = jnp.asarray(X, jnp.float32)
    for left, right in ((0, 2), (2, 0), (1, 1)):
        shown = slice(left, 5 - right)
        mask = jnp.zeros((3, 5), bool).at[:, shown].set(True)
        hidden = jnp.where(mask[..., None], x, jnp.nan)
        ys, last = op(hidden, held, mask=mask)
        expected, end = op(x[:, shown], held)
        np.testing.assert_allclose(ys[:, shown], expected, rtol=1e-6, atol=1e-7)
        jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-6), last, end)
        assert (ys[:, :left] == 0).all()
        assert (ys[:, 5 - right :] == ys[:, 4 - right : 5 - right]).all()
        gradient = jax.grad(lambda held, op=op, h=hidden, m=mask: jnp.sum(op(h, held, mask=m)[0]))(held)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def carries_its_state(op: Any, weights: Any) -> None:
    """Two halves with the carry between them are the whole; a float32 carry over half precision stays so."""
    held = jax.tree.map(lambda each: jnp.asarray(each, jnp.float32), weights)
    x = jnp.asarray(X, jnp.float32)
    whole, end = op(x, held)
    first, middle = op(x[:, :2], held)
    second, last = op(x[:, 2:], held, middle)
    np.testing.assert_allclose(jnp.concatenate([first, second], 1), whole, rtol=1e-6, atol=1e-7)
    jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-7), last, end)
    half = jax.tree.map(lambda each: each.astype(jnp.bfloat16), (x, held))
    ys, kept = op(*half, middle)
    assert ys.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(kept)} == {jnp.dtype(jnp.float32)}
    assert {leaf.dtype for leaf in jax.tree.leaves(op(*half)[1])} == {jnp.dtype(jnp.bfloat16)}


def laws(weights: Any) -> tuple[Callable[[Any], None], ...]:
    """Of a whole layer."""
    found = []
    for law in (ways_agree, masked_is_cut, carries_its_state):
        bound = functools.partial(law, weights=weights)
        functools.update_wrapper(bound, law)
        found.append(bound)
    return tuple(found)


def a_thousand_steps_do_not_drift(op: Any) -> None:
    """Half precision with a float32 carry: an integrator of 1000 small steps is right to 1e-5."""
    weights = {
        "kernel": jnp.full((1, 1), 1e-3, jnp.bfloat16),
        "recurrent_kernel": jnp.ones((1, 1), jnp.bfloat16),
    }

    def step(carry: Any, x: Any) -> Any:
        return op(carry, x, weights, activation="linear")

    end, _ = jax.lax.scan(step, jnp.zeros((1, 1)), jnp.ones((1000, 1, 1), jnp.bfloat16))
    np.testing.assert_allclose(end, 1000 * float(weights["kernel"][0, 0]), rtol=1e-5)


ROWS: tuple[OpRow, ...] = (
    OpRow(
        name="layers.lstm_cell",
        formula="c' = gate(f) c + gate(i) act(g), h' = gate(o) act(c')",
        oracle=lstm_cell,
        oracle_name="the equations in float64",
        peers="Flax, Keras, torch",
        cases=(
            case((C, H), X[:, 0], LSTM),
            case((C, H), X[:, 0], PLAIN, gate="softsign", activation="relu"),
            case((C[:1], H[:1]), X[:1, 0], LSTM),
            case((C[:0], H[:0]), X[:0, 0], LSTM),
        ),
        bound=REDUCTION,
        torch="lstm_cell(carry, x, params)",
    ),
    OpRow(
        name="layers.gru_cell",
        formula="h' = (1 - z) n + z h",
        oracle=gru_cell,
        oracle_name="the equations in float64, gate by gate",
        peers="Flax, Keras, torch",
        cases=(
            case(H, X[:, 0], GRU),
            case(H, X[:, 0], GRU_BEFORE, reset_after=False),
            case(H, X[:, 0], GRU_BEFORE, gate="softsign", activation="relu"),
            case(H[:0], X[:0, 0], GRU),
        ),
        bound=REDUCTION,
        torch="gru_cell(carry, x, params)",
    ),
    OpRow(
        name="layers.rnn_cell",
        formula="h' = act(x kernel + h recurrent_kernel + bias)",
        oracle=rnn_cell,
        oracle_name="the equation in float64",
        peers="Flax, Keras, torch",
        cases=(case(H, X[:, 0], RNN), case(H, X[:, 0], RNN, activation="relu"), case(H[:0], X[:0, 0], RNN)),
        bound=REDUCTION,
        torch="rnn_cell(carry, x, params, activation)",
        laws=(a_thousand_steps_do_not_drift,),
    ),
    OpRow(
        name="layers.conv_lstm_cell",
        formula="lstm_cell with convolutions for products",
        oracle=conv_lstm_cell,
        oracle_name="loops over positions in float64",
        peers="Flax, Keras",
        cases=(
            case((STATE, STATE * 0.5), IMAGES[:, 0], CONV),
            case((STATE[:, :2, :3], STATE[:, 1:3, :3]), IMAGES[:, 0], CONV, strides=2),
            case(
                (STATE[:, :2, :3], STATE[:, 1:3, :3]), IMAGES[:, 0], CONV, padding="valid", activation="relu"
            ),
        ),
        bound=REDUCTION,
        torch="conv_lstm_cell(carry, x, params)",
    ),
    OpRow(
        name="layers.unroll",
        formula="carry, y = cell(carry, x) at each step",
        oracle=decaying_loop,
        oracle_name="a loop over steps and examples in float64",
        peers="jax.lax, Flax, Keras",
        cases=(
            case(decaying, {"sum": H[:, :2]}, X),
            case(decaying, {"sum": H[:, :2]}, X, mask=MASK),
            case(decaying, {"sum": H[:, :2]}, X, mask=MASK, reverse=True, mode="static"),
            case(decaying, {"sum": H[:, :2]}, X, reverse=True, remat=True),
            case(decaying, {"sum": H[:, :2]}, X[:, :0], mode="static"),
            case(decaying, {"sum": H[:1, :2]}, X[:1], mask=MASK[1:2], mode="static", remat=True),
        ),
        bound=REDUCTION,
        half=False,
        no_torch="torch has no loop over any cell",
    ),
    OpRow(
        name="layers.lstm",
        formula="lstm_cell at each step",
        oracle=over(lstm_cell, 2),
        oracle_name="a loop over steps and examples in float64",
        peers="Flax, Keras, torch",
        cases=of_layer(case(X, LSTM, (C, H)), LSTM, (C, H)),
        bound=REDUCTION,
        torch="lstm(x, params, carry)",
        laws=laws(LSTM),
    ),
    OpRow(
        name="layers.gru",
        formula="gru_cell at each step",
        oracle=over(gru_cell, 1),
        oracle_name="a loop over steps and examples in float64",
        peers="Flax, Keras, torch",
        cases=(*of_layer(case(X, GRU, H), GRU, H), case(X, GRU_BEFORE, H, reset_after=False)),
        bound=REDUCTION,
        torch="gru(x, params, carry)",
        laws=laws(GRU),
    ),
    OpRow(
        name="layers.rnn",
        formula="rnn_cell at each step",
        oracle=over(rnn_cell, 1),
        oracle_name="a loop over steps and examples in float64",
        peers="Flax, Keras, torch",
        cases=of_layer(case(X, RNN, H), RNN, H),
        bound=REDUCTION,
        torch="rnn(x, params, carry)",
        laws=laws(RNN),
    ),
    OpRow(
        name="layers.conv_lstm",
        formula="conv_lstm_cell at each step",
        oracle=over(conv_lstm_cell, 2),
        oracle_name="loops over steps, examples and positions in float64",
        peers="Keras",
        cases=(
            case(IMAGES, CONV, (STATE, STATE * 0.5)),
            case(IMAGES, CONV, mask=MASK[1:, :3], reverse=True, mode="static"),
            case(IMAGES, CONV, (STATE, STATE), mask=MASK[1:, :3]),
            case(IMAGES[:, :0], CONV, (STATE, STATE)),
        ),
        bound=REDUCTION,
        torch="conv_lstm(x, params, carry)",
    ),
)
