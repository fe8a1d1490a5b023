"""What layers do beside computing: parts, masks, missing inputs, wrapped layers, records."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax.graph.data._swap import remade
from axonax.tensor import layers as tensor
from axonax.tensor import trees

A = np.arange(6, dtype="float32").reshape(2, 3)


def x(*shape):
    return nn.input("x", shape or (None, 3))


def started(model):
    pair = nn.build(model)
    return pair, pair.init(jax.random.key(0))


def filled(model):
    """The same with any numbers in the leaves, which takes no program to draw."""
    pair, rng = nn.build(model), np.random.default_rng(3)
    leaves = jax.eval_shape(pair.init, jax.random.key(0))
    return pair, jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype), leaves)


def shapes(state):
    return {
        path: leaf.shape
        for part in (state.params, state.buffers)
        for path, leaf in trees.flatten(part).items()
    }


class TestParts:
    def test_split_gives_as_many_nodes_of_one_shared_node(self):
        first, second, third = x() | nn.split(3)
        model = nn.container((third, first))
        found = nn.predict(model, started(model)[1], A)
        np.testing.assert_array_equal(found[0], A[:, 2:])
        np.testing.assert_array_equal(found[1], A[:, :1])
        assert first.parents[0] is second.parents[0]
        assert str(model).count("split[") == 1

    def test_stack_columns_takes_a_dict_of_nodes(self):
        a = x(None)
        model = nn.stack_columns()({"b": a, "a": a * 2})
        found = nn.predict(model, started(model)[1], A[:, 1])
        np.testing.assert_array_equal(found, [[2, 1], [8, 4]])
        assert "(None, 2)" in str(model)


class TestMasks:
    def test_batch_norm_leaves_out_what_the_mask_does(self, quick):
        given = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
        kept = np.array([True, True, False, True])
        mask = nn.input("mask", (None,), dtype="bool", optional=True)
        layer = nn.batch_norm(momentum=0.5)
        (_, apply), state = started(layer(x(None, 5, 3), where=mask))

        def program(given, kept):
            return (
                apply(state, {"x": given, "mask": kept}, train=True),
                apply(state, {"x": given[:2]}, train=True),
                apply(state, {"x": given[:2], "mask": jnp.ones(2, bool)}, train=True),
            )

        masked, missing, whole = quick(program)(given, kept)
        mean = masked[1]["batch_norm_0"]["mean"]
        np.testing.assert_allclose(mean, given[kept].mean((0, 1)) / 2, 1e-5, 1e-6)
        for one, other in zip(jax.tree.leaves(missing), jax.tree.leaves(whole), strict=True):
            np.testing.assert_allclose(one, other, 1e-5, 1e-6)


class TestFunctions:
    @pytest.mark.parametrize("make", [nn.function, nn.layer])
    def test_optional_gets_none_for_what_is_missing(self, make):
        def total(a, b):
            return a if b is None else a + b

        other = nn.input("b", (None, 3), optional=True)
        model = make(total, optional=True)(x(), other)
        state = started(model)[1]
        np.testing.assert_array_equal(nn.predict(model, state, A), A)
        np.testing.assert_array_equal(nn.predict(model, state, A, A), 2 * A)
        lacking = nn.or_else(make(total)(x(), other), nn.input("c", (None, 3)))
        np.testing.assert_array_equal(nn.predict(lacking, started(lacking)[1], {"x": A, "c": -A}), -A)

    def test_names(self):
        def halve(x):
            return x / 2

        model = x() | nn.function(halve) | nn.function(lambda x: x + 1) | nn.function(jnp.sin, name="wave")
        assert [line.split()[0] for line in str(model).splitlines()[6:9]] == ["halve_0", "function_0", "wave"]


WRAPPED = {
    "weight_norm dense": (nn.weight_norm(nn.dense(4)), {"kernel": (3, 4), "bias": (4,), "scale": (4,)}),
    "spectral_norm dense": (nn.spectral_norm(nn.dense(4)), {"kernel": (3, 4), "bias": (4,), "u": (4,)}),
    "both": (
        nn.spectral_norm(nn.weight_norm(nn.dense(4, use_bias=False))),
        {"kernel": (3, 4), "scale": (4,), "u": (4,)},
    ),
    "the other way": (
        nn.weight_norm(nn.spectral_norm(nn.dense(4, use_bias=False))),
        {"kernel": (3, 4), "scale": (4,), "u": (4,)},
    ),
    "statistics": (
        nn.spectral_norm(nn.batch_norm(), of="scale"),
        {"scale": (3,), "offset": (3,), "mean": (3,), "var": (3,), "u": (3,)},
    ),
}


class TestWrapped:
    @pytest.mark.parametrize("name", WRAPPED)
    def test_leaves_stand_under_the_path_of_the_wrapper(self, name):
        layer, leaves = WRAPPED[name]
        state = jax.eval_shape(nn.build(x() | layer).init, jax.random.key(0))
        assert shapes(state) == {f"{layer.op}_0/{leaf}": shape for leaf, shape in leaves.items()}

    def test_buffers_of_the_inner_layer_move_too(self, quick):
        (_, apply), state = started(x() | nn.spectral_norm(nn.batch_norm(momentum=0.5), of="scale", eps=1e-3))
        moved, kept = quick(lambda x: (apply(state, x, train=True)[1], apply(state, x)[1]))(A)
        found = moved["spectral_norm_0"]
        np.testing.assert_allclose(found["mean"], A.mean(0) / 2)
        assert found["u"].shape == (3,)
        jax.tree.map(np.testing.assert_array_equal, kept, state.buffers)

    def test_the_activation_of_the_inner_layer_follows(self):
        model = x() | nn.weight_norm(nn.dense(4, activation="relu"))
        assert [line.split()[0] for line in str(model).splitlines()[6:8]] == ["weight_norm_0", "relu_0"]

    def test_a_convolution_by_hand(self, quick):
        image = np.random.default_rng(1).normal(size=(2, 5, 5, 3)).astype("float32")
        (_, apply), state = filled(x(None, 5, 5, 3) | nn.weight_norm(nn.conv(4, 2, strides=2)))

        def program(image):
            params = state.params["weight_norm_0"]
            kernel = tensor.weight_norm(params["kernel"], params["scale"])
            return apply(state, image)[0], tensor.conv(image, kernel, params["bias"], strides=2)

        np.testing.assert_allclose(*quick(program)(image), 1e-5, 1e-6)


LAYERS = [
    nn.einsum_dense("...d,dnh->...nh", {"n": 8, "h": 16}, bias_axes="nh", activation="relu"),
    nn.weight_norm(nn.dense(4, activation="relu")),
    nn.spectral_norm(nn.dense(4), steps=2, name="first"),
    nn.layer_norm(axis=[-1, -2]),
    nn.split([1, 2]),
    nn.pad([[1, 2]]),
    nn.gaussian_noise(0.1),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.op)
def test_the_record_of_a_call_makes_the_layer_again(layer):
    made = layer.builder(**layer.arguments)
    assert made.arguments == layer.arguments
    assert made.op == layer.op
    again = remade(layer)
    assert (again.name, again.where, again.computation.then) == (
        layer.name,
        layer.where,
        layer.computation.then,
    )
    back = pickle.loads(pickle.dumps(layer))
    assert (back.op, list(back.arguments), back.name) == (layer.op, list(layer.arguments), layer.name)
    assert copy.deepcopy(layer) is layer


def test_tied_logits_share_the_kernel_of_an_embedding(quick):
    embed = nn.embedding(7, 3)
    model = (
        nn.input("x", (None, 2), dtype="int32") | embed | nn.tied_logits(7, kernel_initializer=nn.tied(embed))
    )
    (_, apply), state = filled(model)
    assert shapes(state) == {"embedding_0/kernel": (7, 3)}
    kernel = state.params["embedding_0"]["kernel"]
    tokens = np.array([[0, 6]], "int32")
    np.testing.assert_allclose(quick(apply)(state, tokens)[0], kernel[tokens] @ kernel.T, 1e-5, 1e-6)


def test_dense_takes_integers_as_numbers():
    model = nn.input("x", (None, 3), dtype="uint8") | nn.dense(2, kernel_initializer="ones")
    found = nn.predict(model, started(model)[1], np.array([[1, 2, 250]], "uint8"))
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found, [[253, 253]])
