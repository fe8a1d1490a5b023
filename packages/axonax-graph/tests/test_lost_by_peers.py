"""Models that other libraries are known to bring back from a file changed, or with weights elsewhere."""

import jax
import numpy as np
import pytest

from axonax import graph as nn
from axonax.tensor import trees

RANDOM = np.random.default_rng(0)
X, Y = (RANDOM.normal(size=(2, 4)).astype("float32") for _ in range(2))


@nn.builder
def scale(initializer="normal", *, name=None):
    gain = nn.param(lambda x: x.shape[-1:], initializer)
    return nn.layer(lambda x, gain: x * gain[None], params={"gain": gain})


def x(name="x"):
    return nn.input(name, (None, 4))


def shared_at_several_depths():
    """A layer before and after a reshape, and on values of other ranks; outputs last made first."""
    shared, node = nn.dense(4, activation="tanh"), x()
    first = node | shared
    second = first | nn.reshape(("batch", 2, 2)) | nn.relu() | nn.flatten() | nn.dense(4) | shared
    third = node | nn.reshape(("batch", 1, 4)) | shared | nn.flatten()
    return nn.container((third + second, second, first | shared, first))


def shared_over_ranks():
    """A layer applied to rows, and to sequences made of them."""
    shared, node = nn.dense(4), x()
    sequence = node | nn.reshape(("batch", 1, 4)) | shared
    return nn.container((sequence | nn.flatten(), shared(node), shared(shared(node))))


def dict_of_outputs():
    """Keys in an order that is neither that of the alphabet nor that of making."""
    node = x()
    first, second = node | nn.dense(3), node | nn.dense(2)
    return nn.container({"zebra": second, "apple": {"pear": first, "fig": first + 1.0}, "mango": node})


def own_layer_in_a_shared_block():
    """A layer of the user within a block that is called twice, and another block of the same layers."""
    block = lambda node: node | scale() | nn.dense(4) | scale()  # noqa: E731
    shared, other = nn.block(block), nn.block(block)
    node = x()
    return node | shared | other | shared


def own_layers_in_a_repeat():
    """A layer of the user in blocks that are stacked."""
    return x() | nn.repeat(lambda node: node | scale() | nn.dense(4), 3)


def part_of_two_models():
    """A model used as a part of two others: this is both of them side by side."""
    body = x() | nn.dense(4, activation="relu") | nn.batch_norm()
    left, right = body | nn.dense(2), (body | nn.dropout(0.5) | nn.dense(3))
    return nn.container({"right": right, "left": left})


def layers_without_parameters():
    """Layers without parameters between those of one kind with some."""
    node = x() | nn.dense(4) | nn.relu() | nn.dropout(0.5) | nn.dense(4) | nn.batch_norm() | nn.softmax()
    return node | nn.relu() | nn.dense(4) | nn.flatten() | nn.batch_norm() | nn.dense(4)


def two_inputs():
    """Inputs that are used in another order than that of their names, and differently."""
    return (x("b") | nn.dense(4)) - (x("a") | nn.dense(4) | nn.dense(4)) * 2.0


LOST = (
    shared_at_several_depths,
    shared_over_ranks,
    dict_of_outputs,
    own_layer_in_a_shared_block,
    own_layers_in_a_repeat,
    part_of_two_models,
    layers_without_parameters,
    two_inputs,
)


def arrays_of(model):
    return {"a": X, "b": Y} if model._plan.known_inputs == {"a", "b"} else {"x": X}


def keys(tree):
    return [(key, keys(value)) for key, value in tree.items()] if isinstance(tree, dict) else None


def equal(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert keys(one) == keys(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def jumbled(state):
    """Every leaf another, and none equal to a neighbour: a weight in a wrong place would show."""
    count = iter(range(100))
    return jax.tree.map(lambda leaf: leaf + 0.01 * next(count), state)


@pytest.mark.parametrize("make", LOST, ids=lambda make: make.__name__)
def test_models_come_back_from_text_and_file_with_their_own_weights(make, tmp_path):
    model = make()
    state, inputs = jumbled(nn.build(model).init(jax.random.key(0))), arrays_of(model)
    expected = nn.predict(model, state, inputs)
    again = nn.loads(nn.dumps(model), [scale])
    equal(nn.predict(again, state, inputs), expected)
    nn.save(model, tmp_path / "model.safetensors", state)
    loaded, held = nn.load(tmp_path / "model.safetensors", [scale])
    assert trees.diff(held, state) == []
    equal(nn.predict(loaded, held, inputs), expected)
    assert str(loaded) == str(again) == str(model)


def test_a_shared_layer_has_one_kernel_and_is_applied_as_by_hand():
    model = shared_over_ranks()
    state = nn.build(model).init(jax.random.key(0))
    assert list(trees.flatten(state.params)) == ["dense_0/bias", "dense_0/kernel"]
    kernel = np.asarray(state.params["dense_0"]["kernel"], "float64")
    expected = (X @ kernel, X @ kernel, X @ kernel @ kernel)
    for one, other in zip(nn.predict(model, state, X), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_part_keeps_its_values_in_each_model_that_it_is_a_part_of():
    body = x() | nn.dense(4, activation="relu") | nn.batch_norm()
    state = nn.build(body).init(jax.random.key(0))
    for whole in (body | nn.dense(2), (x("other") | nn.dense(4, name="before")) + body):
        leaves = trees.flatten(nn.build(whole).init(jax.random.key(0)).variables)
        for path, leaf in trees.flatten(state.variables).items():
            np.testing.assert_array_equal(leaves[path], leaf, err_msg=path)
    built = nn.build(body)
    assert nn.build(body) is built


def test_layers_without_parameters_do_not_shift_the_names_of_others():
    plain = x() | nn.dense(4) | nn.dense(4) | nn.batch_norm() | nn.dense(4) | nn.batch_norm() | nn.dense(4)
    between = layers_without_parameters()
    states = [nn.build(model).init(jax.random.key(0)) for model in (plain, between)]
    assert trees.diff(*states) == []
    equal(*states)


def test_inputs_by_name_may_come_in_any_order():
    model = two_inputs()
    state = nn.build(model).init(jax.random.key(0))
    expected = nn.predict(model, state, Y, X)  # "b" is met first
    equal(nn.predict(model, state, {"a": X, "b": Y}), expected)
    equal(nn.predict(model, state, {"b": Y, "a": X}), expected)
    again = nn.loads(nn.dumps(model))
    equal(nn.predict(again, state, {"a": X, "b": Y}), expected)
    params = jax.tree.map(lambda leaf: np.asarray(leaf, "float64"), state.params)
    b, a0, a1 = (params[f"dense_{place}"]["kernel"] for place in range(3))
    np.testing.assert_allclose(expected, Y @ b - 2 * (X @ a0 @ a1), rtol=1e-4, atol=1e-5)
