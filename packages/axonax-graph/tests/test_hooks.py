"""Hooks look on and change nothing; captured values and gradients are those of the model."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax.tensor import trees

KEY = jax.random.key(0)
X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


def layers():
    return nn.dense(4, activation="tanh"), nn.dense(2)


def plain():
    first, last = layers()
    return nn.input("x", (None, 3)) | first | last


PLAIN = plain()
STATE = nn.build(PLAIN).init(KEY)


def hooked(function, **options):
    first, last = layers()
    return nn.hook(nn.input("x", (None, 3)) | first, function, **options) | last


def loss(prediction):
    return (prediction**2).sum()


def run(model, train):
    """The value and the gradient of a compiled step."""

    @jax.jit
    def step(params):
        return loss(nn.build(model).apply(STATE.replace(params=params), X, train=train)[0])

    found = jax.value_and_grad(step)(STATE.params)
    jax.effects_barrier()
    return found


HIDDEN = np.tanh(X @ np.asarray(STATE.params["dense_0"]["kernel"], np.float64))
KERNEL = np.asarray(STATE.params["dense_1"]["kernel"], np.float64)
AT_HIDDEN = 2 * (HIDDEN @ KERNEL) @ KERNEL.T  # dense_1's bias is 0


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("mode", ["both", "train", "predict"])
@pytest.mark.parametrize("on", ["forward", "backward", ("forward", "backward")])
def test_a_hook_sees_values_and_gradients_and_changes_neither(on, mode, train):
    seen = []
    results = run(hooked(lambda value: seen.append(np.asarray(value)), on=on, mode=mode), train)
    assert jax.tree.all(jax.tree.map(np.array_equal, results, run(PLAIN, train)))
    expected = [HIDDEN] * ("forward" in on) + [AT_HIDDEN] * ("backward" in on)
    expected = expected if mode == "both" or (mode == "train") == train else []
    assert len(seen) == len(expected)
    for one, other in zip(seen, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_hook_sees_the_first_leaves_of_its_layer():
    seen = []
    x = nn.input("x", (None, 3))
    model = nn.hook(x | nn.batch_norm(), seen.append, on="initialize")
    model = nn.hook(model | nn.dense(2, name="head"), seen.append, on="initialize")
    state = jax.jit(nn.build(model).init)(KEY)
    jax.effects_barrier()
    seen = sorted(seen, key=len)
    assert [sorted(each) for each in seen] == [["bias", "kernel"], ["mean", "offset", "scale", "var"]]
    np.testing.assert_array_equal(seen[0]["kernel"], state.params["head"]["kernel"])
    nn.predict(model, state, X)
    nn.carry(model, state)
    assert len(seen) == 2


@pytest.mark.parametrize("dtype", ["bfloat16", "int32"])
def test_a_hook_hands_on_every_dtype(dtype):
    x = nn.with_policy(nn.input("x", (None, 3)), nn.Policy(output="bfloat16"))
    model = nn.hook(nn.container({"x": x, "y": x}), lambda value: None)
    value = nn.predict(model, nn.build(model).init(KEY), jnp.ones((2, 3), dtype))
    assert {name: each.dtype.name for name, each in value.items()} == {"x": dtype, "y": dtype}


def whole():
    encoder = nn.block(lambda x: x | nn.dense(3, activation="tanh"), name="enc")
    x = nn.input("x", (None, 3))
    return (x | encoder | encoder | nn.batch_norm() | nn.dense(2)) + nn.input("y", (None, 2))


WHOLE = whole()
WHOLE_STATE = nn.build(WHOLE).init(KEY)


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["enc/dense_0"], ["enc/dense_0"]),
        ("enc/*", ["enc/dense_0", "enc/tanh_0", "enc/dense_0@1", "enc/tanh_0@1"]),
        (re.compile("@1$"), ["enc/dense_0@1", "enc/tanh_0@1"]),
        (["dense_0", "x"], ["x", "dense_0"]),
        (lambda name, node: node.layer.op == "batch_norm", ["batch_norm_0"]),
    ],
)
def test_captured_values_fit_the_state_of_the_model(patterns, names):
    inner = nn.capture(WHOLE, patterns)
    values = nn.predict(inner, WHOLE_STATE, X)
    assert list(values) == names
    kernel = np.asarray(WHOLE_STATE.params["enc"]["dense_0"]["kernel"], np.float64)
    first, second = X @ kernel, np.tanh(X @ kernel) @ kernel
    known = {
        "x": X,
        "enc/dense_0": first,
        "enc/tanh_0": np.tanh(first),
        "enc/dense_0@1": second,
        "enc/tanh_0@1": np.tanh(second),
    }
    for name in set(names) & set(known):
        np.testing.assert_allclose(values[name], known[name], rtol=1e-5, atol=1e-6)
    own = nn.build(inner).init(KEY)
    assert set(trees.flatten(own)) <= set(trees.flatten(WHOLE_STATE))


def test_gradients_at_values():
    gradients = nn.gradients_at(PLAIN, ["x", "tanh_0", "dense_1"])(loss)
    found = jax.jit(gradients)(STATE, X)
    kernel = np.asarray(STATE.params["dense_0"]["kernel"], np.float64)
    expected = {
        "x": (AT_HIDDEN * (1 - HIDDEN**2)) @ kernel.T,
        "tanh_0": AT_HIDDEN,
        "dense_1": 2 * HIDDEN @ KERNEL,
    }
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)


def test_gradients_have_the_dtypes_of_the_values_and_take_inputs_by_name():
    half = nn.with_policy(WHOLE, nn.Policy(output="bfloat16"), only="enc/dense_0")
    found = nn.gradients_at(half, "enc/dense_0*")(lambda y: y.sum())(
        WHOLE_STATE, {"x": X, "y": np.ones((2, 2), np.float32)}, train=True, key=KEY
    )
    assert {name: each.dtype.name for name, each in found.items()} == {
        "enc/dense_0": "bfloat16",
        "enc/dense_0@1": "bfloat16",
    }


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nn.hook(nn.dense(2), print), TypeError, "hook: needs a node, got Layer"),
        (lambda: nn.hook(PLAIN, "print"), TypeError, "hook: needs a function of a value, got 'print'"),
        (
            lambda: nn.hook(PLAIN, print, on="forwards"),
            ValueError,
            'hook: unknown event "forwards": did you mean "forward"',
        ),
        (lambda: nn.hook(PLAIN, print, on=()), ValueError, "hook: needs an event, got none"),
        (
            lambda: nn.hook(PLAIN, print, mode="trains"),
            ValueError,
            'unknown mode of a hook "trains": did you mean "train"',
        ),
        (
            lambda: nn.hook(PLAIN | nn.relu(), print, on="initialize"),
            ValueError,
            'hook: on "initialize" needs a layer with parameters, got <relu layer',
        ),
        (
            lambda: nn.build(nn.hook(nn.input("x", (3,), dtype="int32"), print, on="backward")),
            ValueError,
            'on "backward" needs floats, got (3,)',
        ),
        (
            lambda: nn.capture(PLAIN, ["dense_3"]),
            ValueError,
            'capture: pattern "dense_3" selects no node: did you mean "dense_0", "dense_1"',
        ),
        (
            lambda: nn.gradients_at(PLAIN, "relu_0"),
            ValueError,
            'gradients_at: pattern "relu_0" selects no node',
        ),
        (
            lambda: nn.gradients_at(nn.container({"a": PLAIN}), "container_0")(loss)(STATE, X),
            ValueError,
            'gradients_at: the value of "container_0" must be an array of floats, got dict',
        ),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()
