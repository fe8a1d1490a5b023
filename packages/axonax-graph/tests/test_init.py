import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax.tensor import trees
from axonax.tensor.contracts import ModelState

pytestmark = pytest.mark.smoke


def key(seed=0):
    return jax.random.key(seed)


def classifier():
    return nn.input("image", (None, 6)) | nn.dense(4, activation="relu") | nn.dense(3, name="head")


def equal(a, b):
    assert trees.diff(a, b) == []
    for one, two in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_state_is_nested_dicts_by_path():
    state = nn.build(classifier()).init(key(), jnp.zeros((1, 6)))
    assert isinstance(state, ModelState)
    assert {path: leaf.shape for path, leaf in trees.flatten(state.params).items()} == {
        "dense_0/bias": (4,),
        "dense_0/kernel": (6, 4),
        "head/bias": (3,),
        "head/kernel": (4, 3),
    }
    assert state.frozen == state.buffers == {}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state.params)} == {"float32"}


@pytest.mark.parametrize(
    "inputs",
    [
        (),
        (jnp.zeros((1, 6)),),
        (np.zeros((5, 6)),),
        (jax.ShapeDtypeStruct((2, 6), "float32"),),
        ((2, 6),),
        ({"image": jnp.zeros((1, 6))},),
        ({"image": (3, 6)},),
    ],
)
def test_every_form_of_input_gives_the_same_state(inputs):
    init = nn.build(classifier()).init
    equal(init(key(), *inputs), init(key(), jnp.ones((7, 6))))


def test_the_same_key_gives_the_same_values_and_another_key_others():
    init = nn.build(classifier()).init
    equal(init(key()), nn.build(classifier()).init(key()))
    assert not np.array_equal(init(key()).params["head"]["kernel"], init(key(1)).params["head"]["kernel"])


def test_leaves_of_one_shape_differ():
    model = nn.input("x", (None, 4)) | nn.dense(4) | nn.dense(4)
    params = nn.build(model).init(key()).params
    assert not np.array_equal(params["dense_0"]["kernel"], params["dense_1"]["kernel"])


def test_an_inserted_layer_leaves_the_values_of_others():
    before = nn.build(classifier()).init(key())
    deeper = (
        nn.input("image", (None, 6))
        | nn.dense(4, activation="relu")
        | nn.dropout(0.5)
        | nn.dense(4)
        | nn.dense(3, name="head")
    )
    after = nn.build(deeper).init(key())
    equal({name: after.params[name] for name in before.params}, before.params)


def test_init_draws_by_the_initializer():
    model = nn.input("x", (None, 300)) | nn.dense(500)
    kernel = nn.build(model).init(key()).params["dense_0"]["kernel"]
    limit = np.sqrt(6 / 800)
    assert np.abs(kernel).max() <= limit
    assert np.std(kernel) == pytest.approx(limit / np.sqrt(3), rel=0.01)


def test_initializers_by_name_or_function():
    layer = nn.dense(
        2, kernel_initializer=lambda key, shape, dtype: jnp.full(shape, 7, dtype), bias_initializer="ones"
    )
    params = nn.build(nn.input("x", (None, 3)) | layer).init(key()).params["dense_0"]
    np.testing.assert_array_equal(params["kernel"], np.full((3, 2), 7))
    np.testing.assert_array_equal(params["bias"], np.ones(2))


def test_init_under_jit_vmap_and_eval_shape():
    init = nn.build(classifier()).init
    equal(jax.jit(init)(key()), init(key()))
    equal(jax.jit(init)(key(), jnp.zeros((1, 6))), init(key()))
    population = jax.vmap(init)(jax.random.split(key(), 3))
    np.testing.assert_allclose(
        population.params["head"]["kernel"][1], init(jax.random.split(key(), 3)[1]).params["head"]["kernel"]
    )
    assert trees.diff(jax.eval_shape(init, key()), init(key())) == []


def test_legacy_keys_work():
    nn.build(classifier()).init(jax.random.PRNGKey(0))


def test_dtypes_of_own_parameters_are_kept():
    layer = nn.layer(
        lambda x, step: x + step, params={"step": nn.param(lambda x: x.shape[-1:], "zeros", dtype="int8")}
    )
    assert nn.build(nn.input("x", (None, 3)) | layer).init(key()).params["layer_0"]["step"].dtype == jnp.int8


def test_two_inputs_by_position_or_name():
    model = (nn.input("a", (None, 2)) | nn.dense(3)) + (nn.input("b", (None, 4)) | nn.dense(3))
    init = nn.build(model).init
    a, b = jnp.zeros((1, 2)), jnp.zeros((1, 4))
    equal(init(key(), a, b), init(key(), {"b": b, "a": a}))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (
            (jnp.zeros((1, 7)),),
            r'input "image" \(test_init.py:\d+\): declared with shape \(None, 6\), got \(1, 7\)',
        ),
        ((jnp.zeros(6),), r"declared with shape \(None, 6\), got \(6,\)"),
        (({"imago": jnp.zeros((1, 6))},), 'unknown input "imago": did you mean "image"'),
        (({},), r'input "image" \(test_init.py:\d+\): missing among the inputs by name, got none'),
        ((jnp.zeros((1, 6)), 2), r'takes 1 input\(s\), "image", got 2'),
    ],
)
def test_inputs_that_do_not_fit(inputs, message):
    with pytest.raises(ValueError, match=message):
        nn.build(classifier()).init(key(), *inputs)


@pytest.mark.parametrize("value", ["text", [[1.0]], None])
def test_inputs_that_are_no_arrays(value):
    with pytest.raises(
        TypeError, match=r'input "image" .*needs an array, a ShapeDtypeStruct or a shape, got'
    ):
        nn.build(classifier()).init(key(), value)


@pytest.mark.parametrize("value", [0, None, jnp.zeros(2)])
def test_a_key_that_is_none(value):
    with pytest.raises(TypeError, match=r"init: key must be a PRNG key such as jax.random.key\(0\), got"):
        nn.build(classifier()).init(value)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: nn.input("x") | nn.dense(2),
            r'init: dense "dense_0" \(test_init.py:\d+\): the shape of kernel is unknown',
        ),
        (
            lambda: nn.input("x", (None, None)) | nn.dense(2),
            r"the shape of kernel \(None, 2\) is open: pass inputs",
        ),
        (
            lambda: (
                nn.input("x", (None, 2)) | nn.layer(lambda x, w: x, params={"w": nn.param(3, "orthogonal")})
            ),
            r'init: layer "layer_0" \(test_init.py:\d+\): w \(3,\): ',
        ),
    ],
)
def test_parameters_that_cannot_be_made(model, message):
    with pytest.raises(ValueError, match=message):
        nn.build(model()).init(key())


def test_open_sizes_are_settled_by_inputs():
    for shape in (None, (None, None)):
        state = nn.build(nn.input("x", shape) | nn.dense(2)).init(key(), jnp.zeros((1, 5)))
        assert state.params["dense_0"]["kernel"].shape == (5, 2)
