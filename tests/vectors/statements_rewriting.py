"""The sentences of the vectors about sequences, rewriting and precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ops import programs

from axonax import graph as nn
from axonax.tensor import layers, trees
from axonax.tensor.contracts import ModelState
from axonax.tensor.precision import Policy
from vectors import statements_graph as models
from vectors.statements_graph import KEY, leaves, result, shape_of, state_of, x

TOKENS = np.array([[1, 2, 3, 4, 0, 0, 0]])


def steps_that_count() -> None:
    """Ours by policy: true where a step counts, as in Keras; upstream's is 1 where the end token stands."""
    found = result(nn.input("tokens") | nn.mask(0), TOKENS)
    assert found.tolist() == [[True] * 4 + [False] * 3]


def _repeats_the_last(recurrent: Any) -> None:
    tokens = nn.input("tokens", (None, 7), dtype="int32")
    embedded = tokens | nn.embedding(5, 3, kernel_initializer="normal")
    found = result(recurrent(embedded, mask=tokens | nn.mask(0)), TOKENS)
    assert (np.abs(np.diff(found[0, :4], axis=0)).max(1) > 0).all()
    np.testing.assert_array_equal(found[0, 4:], np.broadcast_to(found[0, 3], (3, 4)))


def mask_lstm() -> None:
    _repeats_the_last(nn.lstm(4))


def mask_gru() -> None:
    _repeats_the_last(nn.gru(4))


def states_start_at_zeros() -> None:
    """Ours by policy: without a given state a recurrent layer starts at zeros, as in PyTorch and Keras."""
    sequence = nn.input("x", (1, 2, 3))
    given = np.float32(np.random.default_rng(0).normal(size=(1, 2, 3)))
    zeros = nn.constant(np.zeros((1, 4), np.float32))
    for layer, state in ((nn.lstm(4), (zeros, zeros)), (nn.gru(4), zeros)):
        both = nn.container((layer(sequence), layer(sequence, initial_state=state)))
        one, two = result(both, given)
        np.testing.assert_array_equal(one, two)


def channels_come_last() -> None:
    """Ours by policy: a convolutional LSTM is channels last, and its gates are in the order i, f, g, o."""
    given = np.ones((1, 2, 5, 6, 3), np.float32)
    model = nn.input("x", (None, 2, 5, 6, 3)) | nn.conv_lstm(4, 3)
    shapes = {path.rpartition("/")[2]: leaf.shape for path, leaf in leaves(model).items()}
    assert shapes == {"kernel": (3, 3, 3, 16), "recurrent_kernel": (3, 3, 4, 16), "bias": (16,)}
    assert shape_of(model, given) == (1, 2, 5, 6, 4)


def bidirectional_backward() -> None:
    given = np.float32(np.random.default_rng(0).normal(size=(1, 5, 3)))
    model = nn.build(nn.input("x", (None, 5, 3)) | nn.bidirectional(nn.lstm(4)))

    def run(given: Any) -> Any:
        state = model.init(KEY, given)
        (params,) = state.params.values()
        backward, _ = layers.lstm(given[:, ::-1], params["backward"])
        return model.apply(state, given)[0], backward[:, ::-1]

    found, expected = programs.quick(run)(given)
    assert found.shape == (1, 5, 8)
    np.testing.assert_allclose(found[..., 4:], expected, rtol=1e-6, atol=1e-7)


def numbers(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.tolist(), tree)


def hooked(seen: dict[str, list[Any]]) -> Any:
    """A dense layer at which all events are written down; its input too."""

    def write(event: str) -> Callable[[Any], None]:
        return lambda value: seen.setdefault(event, []).append(
            jax.tree.map(lambda leaf: leaf.tolist(), value)
        )

    given = nn.hook(nn.input("x", (None, 1)), write("input"))
    node = nn.hook(given | nn.dense(1, kernel_initializer="ones"), write("initialize"), on="initialize")
    return nn.hook(nn.hook(node, write("forward")), write("backward"), on="backward")


def gradient(model: Any) -> Any:
    """That of three times the sum of what a new model makes of 2, by the parameters."""
    init, apply = nn.build(model)

    def loss(params: Any) -> Any:
        return 3 * apply(ModelState(params=params), jnp.full((1, 1), 2.0))[0].sum()

    found = programs.quick(lambda: jax.grad(loss)(init(KEY).params))()
    jax.effects_barrier()
    return found["dense_0"]


def hooks_forward() -> None:
    """The hook of a node sees its output; that of the node before it sees the input."""
    seen: dict[str, list[Any]] = {}
    gradient(hooked(seen))
    assert seen == {
        "input": [[[2]]],
        "initialize": [{"bias": [0], "kernel": [[1]]}],
        "forward": [[[2]]],
        "backward": [[[3]]],
    }


def hooks_backward() -> None:
    plain = nn.input("x", (None, 1)) | nn.dense(1, kernel_initializer="ones")
    one, two = (numbers(gradient(each)) for each in (hooked({}), plain))
    assert one == two == {"bias": [3], "kernel": [[6]]}


def rewrite_replace() -> None:
    model = x() | nn.dense(3) | nn.relu()
    rewritten = nn.map_nodes(model, lambda path, node: nn.tanh() if node.layer.op == "relu" else None)
    given = np.float32([[1, -2]])
    assert models.paths(rewritten) == models.paths(model)

    def run(given: Any) -> Any:
        state = nn.build(model).init(KEY)
        dense = state.params["dense_0"]
        expected = jnp.tanh(layers.dense(given, dense["kernel"], dense["bias"]))
        return nn.predict(rewritten, state, given), expected

    np.testing.assert_allclose(*programs.quick(run)(given), rtol=1e-6)


def quantized() -> tuple[Any, ModelState, Any, ModelState]:
    """A model of two dense layers and its state, before and after."""
    model, made = x(4) | nn.dense(3) | nn.relu() | nn.dense(2, use_bias=False), []

    @programs.quick
    def states() -> Any:
        before = nn.build(model).init(KEY)
        small, after = nn.quantize(model, before)
        made.append(small)
        return before, after

    before, after = states()
    return model, before, made[0], after


def integers_are_buffers() -> None:
    """Ours by policy: integers and scales are buffers, which no optimizer trains; the zero point is always
    0 and not held; biases are trained on."""
    _, before, _, after = quantized()
    held = {path: leaf.dtype.name for path, leaf in trees.flatten(after.buffers).items()}
    names = [f"dense_{n}/kernel/{part}" for n in (0, 1) for part in ("scale", "values")]
    assert held == dict(zip(names, ("float32", "int8") * 2, strict=True))
    for path, kernel in trees.flatten(before.params).items():
        if path.endswith("kernel"):
            expected = np.abs(kernel).max(0, keepdims=True) / 127.5
            np.testing.assert_allclose(trees.flatten(after.buffers)[f"{path}/scale"], expected, rtol=1e-6)
    assert list(trees.flatten(after.params)) == ["dense_0/bias"]
    assert trees.flatten(after.params)["dense_0/bias"].tolist() == [0, 0, 0]


def quantize_predict() -> None:
    model, before, small, after = quantized()

    def run(given: Any) -> Any:
        kernel, bias = (before.params["dense_0"][name] for name in ("kernel", "bias"))
        expected = jax.nn.relu(layers.quantized_dense(given, layers.quantize(kernel), bias))
        inner = nn.predict(nn.truncate(small, at="relu_0"), after, given)
        return (inner, expected), (nn.predict(small, after, given), nn.predict(model, before, given))

    inner, outer = programs.quick(run)(np.float32(np.random.default_rng(0).normal(size=(5, 4))))
    np.testing.assert_allclose(*inner, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(*outer, atol=0.05)


MANY = (
    ("dense", (2,), (None, 3)),
    ("bilinear", (2,), None),
    ("embedding", (5, 2), None),
    ("conv", (2, 3), (None, 8, 3)),
    ("conv_transpose", (2, 3), (None, 8, 3)),
    ("depthwise_conv", (2, 3), (None, 8, 3)),
    ("separable_conv2d", (2, 3), (None, 8, 8, 3)),
    ("layer_norm", (), (None, 3)),
    ("group_norm", (3,), (None, 8, 3)),
    ("batch_norm", (), (None, 3)),
    ("lstm", (2,), (None, 4, 3)),
    ("gru", (2,), (None, 4, 3)),
)


def _applied(op: str, own: tuple[Any, ...], shape: Any) -> Any:
    layer = getattr(nn, op)(*own)
    if op == "bilinear":
        return layer(nn.input("a", (None, 3)), nn.input("b", (None, 4)))
    if op == "embedding":
        return layer(nn.input("tokens", (None, 3), dtype="int32"))
    return layer(nn.input("x", shape))


def policy_params() -> None:
    for op, own, shape in MANY:
        model = nn.with_policy(_applied(op, own, shape), Policy(params="bf16"))
        state = jax.eval_shape(lambda model=model: nn.build(model).init(KEY))
        assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype(jnp.bfloat16)}, op
        # Statistics are summed in float32 whatever the policy says.
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state.buffers)), op


def _dtype_of(model: Any, *inputs: Any) -> Any:
    init, apply = nn.build(model)
    return jax.eval_shape(lambda *xs: apply(init(KEY, *xs), *xs)[0], *inputs).dtype


def policy_output() -> None:
    for layer in (nn.dense(2), nn.relu(), nn.layer_norm()):
        model = nn.with_policy(x(3) | layer, Policy(output="bf16"))
        assert _dtype_of(model, np.ones((1, 3), np.float32)) == jnp.bfloat16


def compute_policy() -> None:
    seen = {}

    def look(x: Any, tokens: Any, gain: Any) -> Any:
        seen.update(x=x.dtype, tokens=tokens.dtype, gain=gain.dtype)
        return x

    layer = nn.layer(look, params={"gain": nn.param((), "ones")})
    model = nn.with_policy(layer(nn.input("x"), nn.input("tokens")), Policy(compute="bf16"))
    result(model, np.ones(1, np.float32), np.ones(1, np.int32))
    assert seen == {"x": jnp.bfloat16, "tokens": jnp.int32, "gain": jnp.bfloat16}


def everything_is_a_pattern() -> None:
    """Ours by policy: what to freeze is always said; ``"**"`` is everything."""
    state = state_of(x() | nn.dense(3))
    assert state.freeze() == state
    frozen = state.freeze("**")
    assert (frozen.params, frozen.frozen) == ({}, state.params)


def everything_thaws_by_a_pattern() -> None:
    """Ours by policy: likewise."""
    state = state_of(x() | nn.dense(3))
    assert state.freeze("**").unfreeze("**").params == state.params


def a_policy_is_float32_throughout() -> None:
    """Ours by policy: a dtype that is not said is float32, so that a model's precision is always known."""
    half = np.ones(2, np.float16)
    policy = Policy()
    assert {policy.cast_params(half).dtype, policy.cast_output(half).dtype} == {np.dtype(np.float32)}
    assert policy.cast_compute(np.float32(half)).dtype == np.float32


def all_parts_are_shown() -> None:
    """Ours by policy: a policy prints all three dtypes, in the order p, c, o."""
    assert str(Policy(params="f16", output="f16")) == "p=f16 c=f32 o=f16"
    assert str(Policy()) == "p=f32 c=f32 o=f32"


def cast_params() -> None:
    tree = {"dense_0": {"kernel": np.ones((2, 2), np.float32)}}
    assert Policy(params="f16").cast_params(tree)["dense_0"]["kernel"].dtype == np.float16


def cast_ints() -> None:
    policy, whole = Policy("f16", "f16", "f16"), np.arange(3)
    for cast in (policy.cast_params, policy.cast_compute, policy.cast_output):
        assert cast(whole).dtype == whole.dtype


def apply_filters() -> None:
    model = x() | nn.dense(3) | nn.relu() | nn.dense(1)
    policy = Policy(params="bf16", output="bf16")

    def where(**options: Any) -> list[bool]:
        chosen = nn.with_policy(model, policy, **options)
        return nn.fold_nodes(chosen, [], lambda found, name, node: [*found, node.layer.policy == policy])

    assert where() == [True] * 4
    assert where(op=("dense",)) == [False, True, False, True]
    assert where(except_="dense_*") == [True, False, True, False]
    assert where(only=lambda path, node: node.layer.op == "relu") == [False, False, True, False]


PASSING: dict[str, Callable[[], None]] = {
    f"{area}/{each.__name__}": each
    for area, several in {
        "models": (
            *(mask_lstm, mask_gru, bidirectional_backward, hooks_forward, hooks_backward, rewrite_replace),
            *(policy_params, policy_output, compute_policy, quantize_predict),
        ),
        "mixed_precision": (cast_params, cast_ints, apply_filters),
    }.items()
    for each in several
}
POLICY: dict[str, Callable[[], None]] = {
    "models/mask_equal": steps_that_count,
    "models/rnn_initial_state": states_start_at_zeros,
    "models/conv_lstm_layout": channels_come_last,
    "models/quantize_state": integers_are_buffers,
    "models/freeze_all": everything_is_a_pattern,
    "models/unfreeze_all": everything_thaws_by_a_pattern,
    "mixed_precision/policy_default": a_policy_is_float32_throughout,
    "mixed_precision/policy_text": all_parts_are_shown,
}
