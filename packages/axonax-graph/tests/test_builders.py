"""Each builder against the same arithmetic written by hand in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax.tensor import activations

IMAGE = (None, 8, 9, 4)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), "float32")


def built(layer, shape):
    """A model of one layer, with a state whose parameters are not at their first values."""
    model = nn.input("x", shape) | layer
    init = nn.build(model).init
    state = init(jax.random.key(0)) if layer.computation.buffers else jax.eval_shape(init, jax.random.key(0))
    leaves, structure = jax.tree.flatten(state.params)
    moved = [draw(*leaf.shape, seed=seed + 1) for seed, leaf in enumerate(leaves)]
    return model, state.replace(params=structure.unflatten(moved))


def close(actual, expected):
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 3, 5)])
def test_dense(shape, use_bias):
    model, state = built(nn.dense(4, use_bias=use_bias), (*[None] * (len(shape) - 1), 5))
    x, params = draw(*shape, seed=9), state.params["dense_0"]
    assert sorted(params) == (["bias", "kernel"] if use_bias else ["kernel"])
    with jax.numpy_rank_promotion("allow"):
        close(nn.predict(model, state, x), x @ params["kernel"] + params.get("bias", 0))


DIMENSIONS = {1: ("NHC", "HIO", "NHC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NHWDC", "HWDIO", "NHWDC")}


@pytest.mark.parametrize(
    ("shape", "kernel_size", "options", "lax"),
    [
        ((6, 4), 3, {}, {}),
        ((8, 9, 4), 3, {}, {}),
        (
            (8, 9, 4),
            (3, 2),
            {"strides": (2, 1), "padding": "same"},
            {"window_strides": (2, 1), "padding": "SAME"},
        ),
        ((8, 9, 4), 2, {"padding": [(1, 0), (0, 2)]}, {"padding": [(1, 0), (0, 2)]}),
        ((8, 9, 4), 3, {"groups": 2}, {"feature_group_count": 2}),
        ((8, 9, 4), 2, {"kernel_dilation": 3}, {"rhs_dilation": (3, 3)}),
        ((8, 9, 4), 2, {"input_dilation": (2, 1)}, {"lhs_dilation": (2, 1), "padding": [(0, 0)] * 2}),
        ((6, 4), 3, {"padding": "causal", "kernel_dilation": 2}, {"padding": [(4, 0)], "rhs_dilation": (2,)}),
        ((4, 5, 3, 2), 2, {"strides": 2}, {"window_strides": (2, 2, 2)}),
    ],
)
def test_conv(shape, kernel_size, options, lax):
    rank = len(shape) - 1
    model, state = built(nn.conv(6, kernel_size, **options), (None, *shape))
    x, params = draw(2, *shape, seed=9), state.params["conv_0"]
    arguments = {"window_strides": (1,) * rank, "padding": "VALID", **lax}
    expected = jax.lax.conv_general_dilated(
        x, params["kernel"], dimension_numbers=DIMENSIONS[rank], **arguments
    )
    close(nn.predict(model, state, x), expected + params["bias"].reshape((1,) * (rank + 1) + (-1,)))


def test_conv_without_bias_has_a_kernel_only():
    state = built(nn.conv(6, 3, use_bias=False), (None, 8, 4))[1]
    assert {name: leaf.shape for name, leaf in state.params["conv_0"].items()} == {"kernel": (3, 4, 6)}


@pytest.mark.parametrize(
    ("shape", "window", "options", "lax"),
    [
        ((6, 3), 2, {}, ((2,), (2,), "VALID", (1,))),
        ((8, 9, 3), 2, {}, ((2, 2), (2, 2), "VALID", (1, 1))),
        ((8, 9, 3), (3, 2), {"strides": 1, "padding": "same"}, ((3, 2), (1, 1), "SAME", (1, 1))),
        ((8, 9, 3), 3, {"padding": [(1, 1), (0, 1)]}, ((3, 3), (3, 3), ((1, 1), (0, 1)), (1, 1))),
        ((8, 9, 3), 2, {"strides": (1, 2), "dilation": 2}, ((2, 2), (1, 2), "VALID", (2, 2))),
    ],
)
def test_max_pool(shape, window, options, lax):
    model, state = built(nn.max_pool(window, **options), (None, *shape))
    x = draw(2, *shape)
    sizes, strides, padding, dilation = lax
    if not isinstance(padding, str):
        padding = ((0, 0), *padding, (0, 0))
    expected = jax.lax.reduce_window(
        x, -jnp.inf, jax.lax.max, (1, *sizes, 1), (1, *strides, 1), padding, window_dilation=(1, *dilation, 1)
    )
    close(nn.predict(model, state, x), expected)


def test_flatten():
    model, state = built(nn.flatten(), (None, 2, 3, 4))
    x = draw(5, 2, 3, 4)
    close(nn.predict(model, state, x), x.reshape(5, 24))
    assert "(None, 24)" in str(model)


def test_dropout():
    model, state = built(nn.dropout(0.25), (None, 400))
    x = jnp.ones((50, 400))
    np.testing.assert_array_equal(nn.predict(model, state, x), x)
    dropped, _ = nn.build(model).apply(state, x, train=True, key=jax.random.key(3))
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / 0.75], rtol=1e-6)
    assert float((dropped == 0).mean()) == pytest.approx(0.25, abs=0.01)


class TestBatchNorm:
    def expected(self, x, mean, var, params, options):
        shape, eps = [1, 1, 1, 1], options.get("eps", 1e-5)
        shape[options.get("axis", -1)] = -1
        scale, offset = params.get("scale", jnp.ones(())), params.get("offset", jnp.zeros(()))
        shaped = [leaf.reshape(shape) if leaf.size > 1 else leaf for leaf in (mean, var, scale, offset)]
        return (x - shaped[0]) / jnp.sqrt(shaped[1] + eps) * shaped[2] + shaped[3]

    @pytest.mark.parametrize(
        "options",
        [{}, {"axis": 1}, {"momentum": 0.6, "eps": 0.1}, {"use_scale": False}, {"use_offset": False}],
    )
    def test_modes(self, options):
        model, state = built(nn.batch_norm(**options), IMAGE)
        apply, x, params = nn.build(model).apply, draw(3, 8, 9, 4) * 3 + 1, state.params["batch_norm_0"]
        axes = tuple(axis for axis in range(4) if axis != options.get("axis", -1) % 4)
        momentum = options.get("momentum", 0.99)
        mean, var = x.mean(axes), x.var(axes)
        trained, buffers = apply(state, x, train=True)
        close(trained, self.expected(x, mean, var, params, options))
        close(buffers["batch_norm_0"]["mean"], (1 - momentum) * mean)
        assert np.all(np.abs(buffers["batch_norm_0"]["var"] - momentum - (1 - momentum) * var) < 0.05)
        state = state.replace(buffers=buffers)
        predicted, unchanged = apply(state, x)
        kept = buffers["batch_norm_0"]
        close(predicted, self.expected(x, kept["mean"], kept["var"], params, options))
        jax.tree.map(np.testing.assert_array_equal, unchanged, buffers)

    def test_leaves(self):
        state = nn.build(nn.input("x", IMAGE) | nn.batch_norm()).init(jax.random.key(0))
        assert {name: float(leaf.mean()) for name, leaf in state.params["batch_norm_0"].items()} == {
            "scale": 1,
            "offset": 0,
        }
        assert {name: float(leaf.mean()) for name, leaf in state.buffers["batch_norm_0"].items()} == {
            "mean": 0,
            "var": 1,
        }


@pytest.mark.parametrize("name", activations.available())
def test_every_activation_has_a_builder(name):
    x = draw(2, 6)
    for layer in (getattr(nn, name)(), nn.activation(name)):
        model = nn.input("x", (None, 6)) | layer
        assert model.layer.op == name
        state = nn.build(model).init(jax.random.key(0))
        close(nn.predict(model, state, x), activations.by_name(name)(x))


def test_activation_options_functions_and_layers():
    x = draw(2, 6)
    cases = [
        (nn.leaky_relu(negative_slope=0.3), jnp.where(x > 0, x, 0.3 * x)),
        (nn.activation(jnp.sin), jnp.sin(x)),
        (nn.activation(lambda x: x * 2), x * 2),
    ]
    for layer, expected in cases:
        model, state = built(layer, (None, 6))
        close(nn.predict(model, state, x), expected)
    model, state = built(
        nn.dense(3, activation=nn.activation("leaky_relu", negative_slope=0.3, name="slope")), (None, 6)
    )
    linear = x @ state.params["dense_0"]["kernel"] + state.params["dense_0"]["bias"][None]
    close(nn.predict(model, state, x), jnp.where(linear > 0, linear, 0.3 * linear))
    assert ' slope ( leaky_relu["dense_0"] ) ' in str(model)


def test_custom_layers():
    scale = nn.layer(lambda x, gain: x * gain, params={"gain": nn.param(lambda x: x.shape[-1:], "ones")})
    model = nn.input("x", (None, 3)) | scale
    state = nn.build(model).init(jax.random.key(0))
    assert state.params["layer_0"]["gain"].shape == (3,)
    with jax.numpy_rank_promotion("allow"):
        close(nn.predict(model, state, jnp.ones((2, 3))), jnp.ones((2, 3)))


def test_custom_layers_of_two_inputs_options_and_keys():
    def blend(a, b, *, share, key, train):
        noise = 0 if key is None else jax.random.normal(key, a.shape)
        return share * a + (1 - share) * b + noise, train

    layer = nn.layer(blend, options={"share": 0.25}, needs=("key", "train"), name="mix")
    model = layer(nn.input("a", (None, 3)), nn.input("b", (None, 3)))
    init, apply = nn.build(model)
    a, b = draw(2, 3), draw(2, 3, seed=1)
    close(apply(init(jax.random.key(0)), a, b)[0][0], 0.25 * a + 0.75 * b)
    (noisy, train), _ = apply(init(jax.random.key(0)), a, b, train=True, key=jax.random.key(0))
    assert train
    assert not np.allclose(noisy, 0.25 * a + 0.75 * b)
    assert list(str(model).splitlines()[7].split()[:2]) == ["mix", "("]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.input(3), "input: name must be text, got 3"),
        (lambda: nn.input("a*"), "input: name must be text without"),
        (lambda: nn.input("x", (0, 3)), r"input: shape must hold positive integers or None, got \(0, 3\)"),
        (lambda: nn.input("x", "abc"), "input: shape must hold"),
        (lambda: nn.input("x", 3), "input: shape must hold"),
        (lambda: nn.input("x", dtype="floaty"), "input: dtype must be a dtype or None, got 'floaty'"),
        (lambda: nn.dense(0), "dense: units must be a positive integer, got 0"),
        (lambda: nn.dense(2.5), "dense: units must be a positive integer, got 2.5"),
        (lambda: nn.dense(True), "dense: units must be a positive integer, got True"),
        (lambda: nn.dense(2, activation="rellu"), 'unknown activation "rellu": did you mean "relu"'),
        (lambda: nn.dense(2, activation=3), "activation.*got 3"),
        (
            lambda: nn.dense(2, kernel_initializer="glorot"),
            'unknown initializer "glorot": did you mean "glorot_',
        ),
        (lambda: nn.conv(0, 3), "conv: filters must be a positive integer, got 0"),
        (
            lambda: nn.conv(4, (3, 0)),
            r"conv: kernel_size must be one positive integer or one an axis, got \(3, 0\)",
        ),
        (
            lambda: nn.conv(4, 3, strides=0),
            "conv: strides must be one positive integer or one an axis, got 0",
        ),
        (
            lambda: nn.conv(4, (3, 3), strides=(1,)),
            "conv: options must agree on the number of spatial axes, got",
        ),
        (lambda: nn.conv(4, 3, padding="sam"), 'unknown conv padding "sam": did you mean "same"'),
        (
            lambda: nn.conv(4, 3, padding=-1),
            'conv: padding must be "valid", "same", "causal", a number, or.*got -1',
        ),
        (lambda: nn.conv(4, 3, padding=[(1, 2, 3)]), r"conv: padding must be .* got \(\(1, 2, 3\),\)"),
        (lambda: nn.conv(4, 3, groups=3), "conv: groups must divide filters, got 3 and 4"),
        (lambda: nn.max_pool(0), "max_pool: window must be one positive integer or one an axis, got 0"),
        (
            lambda: nn.max_pool(2, padding="casual"),
            'unknown max_pool padding "casual": did you mean "causal"',
        ),
        (lambda: nn.dropout(1.5), r"dropout: rate must be in \[0, 1\], got 1.5"),
        (lambda: nn.batch_norm(momentum=2), r"batch_norm: momentum must be in \[0, 1\], got 2"),
        (lambda: nn.batch_norm(eps=-1), "batch_norm: eps must be a number of at least 0, got -1"),
        (lambda: nn.batch_norm(axis="last"), "batch_norm: axis must be an integer, got 'last'"),
        (lambda: nn.param((2, -1)), r"param: shape must hold integers of at least 0, got \(2, -1\)"),
        (lambda: nn.param(2, dtype="floaty"), "param: dtype must be a dtype or None, got 'floaty'"),
        (lambda: nn.layer(3), "layer: function must be callable, got 3"),
        (
            lambda: nn.layer(abs, params={"w": (2,)}),
            r"layer: w must be described by nn.param\(.*\), got \(2,\)",
        ),
        (
            lambda: nn.layer(abs, params={"a b": nn.param(2)}),
            "layer: a parameter's name is an argument of.*'a b'",
        ),
        (
            lambda: nn.layer(abs, params={"w": nn.param(2)}, options={"w": 1}),
            "layer: .* must differ in their names",
        ),
        (
            lambda: nn.layer(lambda x, gain: x, params={"gian": nn.param(2)}),
            'takes no argument "gian": did you mean "gain"',
        ),
        (
            lambda: nn.layer(abs, needs=("mode",)),
            r"layer: needs must be among \"train\" and \"key\", got \('mode',\)",
        ),
    ],
)
def test_arguments_are_checked_where_the_user_wrote_them(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.relu(slope=1), 'relu: unknown option "slope"'),
        (
            lambda: nn.leaky_relu(negative_slop=1),
            'leaky_relu: unknown option "negative_slop": did you mean "negative_slope"',
        ),
        (lambda: nn.conv(4, 3, stride=2), 'conv: unknown option "stride": did you mean "strides"'),
    ],
)
def test_unknown_options_list_near_matches(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize(
    ("shape", "layer", "message"),
    [
        ((), lambda: nn.dense(2), r"needs an input of at least one axis \(..., features\), got \(\)"),
        ((None, 784), lambda: nn.conv(4, 3), r"one to three spatial axes, got \(None, 784\)"),
        ((None, 28, 28), lambda: nn.conv(4, (3, 3)), r"with 2 spatial axes, got \(None, 28, 28\)"),
        (IMAGE, lambda: nn.conv(6, 3, groups=3), r"channels that groups=3 divides, got \(None, 8, 9, 4\)"),
        ((None, 28), lambda: nn.max_pool(2), r"one to three spatial axes, got \(None, 28\)"),
        ((None, 28), lambda: nn.batch_norm(axis=2), r"an input that has the axis 2, got \(None, 28\)"),
    ],
)
def test_inputs_of_the_wrong_form_are_found_at_build(shape, layer, message):
    model = nn.input("x", shape) | layer()
    with pytest.raises(
        ValueError, match=rf'{model.layer.op} "{model.layer.op}_0" \(test_builders.py:\d+\): .*{message}'
    ):
        nn.build(model)
