"""A model that ends in softmax or sigmoid offers itself without it."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax.tensor.contracts import Closed, Closing
from axonax.tensor.precision import Policy

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def body():
    return nn.input("x", (None, 3)) | nn.batch_norm() | nn.dropout(0.5) | nn.dense(2, name="head")


@pytest.mark.parametrize(
    ("close", "closing"),
    [
        (nn.softmax(), Closing("softmax")),
        (nn.activation("softmax"), Closing("softmax")),
        (nn.activation(jax.nn.softmax), Closing("softmax")),
        (nn.softmax(axis=0), Closing("softmax", 0)),
        (nn.sigmoid(name="probability"), Closing("sigmoid")),
        (nn.activation(jax.nn.sigmoid), Closing("sigmoid")),
    ],
    ids=["softmax", "by-name", "jax-softmax", "axis", "sigmoid", "jax-sigmoid"],
)
def test_the_open_form_is_the_closed_one_up_to_its_activation(close, closing):
    model = nn.build(body() | close)
    assert isinstance(model, Closed)
    assert model.unclosed.closing == closing
    state = model.init(jax.random.key(0))
    options = {"train": True, "key": jax.random.key(1)}
    prediction, buffers = model.apply(state, X, **options)
    logits, others = model.unclosed.apply(state, X, **options)
    wide = np.asarray(logits, np.float64)
    shares = np.exp(wide) / np.exp(wide).sum(closing.axis, keepdims=True)
    expected = 1 / (1 + np.exp(-wide)) if closing.activation == "sigmoid" else shares
    np.testing.assert_allclose(prediction, expected, rtol=1e-5)
    np.testing.assert_array_equal(model.unclosed.close(logits), prediction)
    jax.tree.map(np.testing.assert_array_equal, others, buffers)
    assert np.abs(others["batch_norm_0"]["mean"]).max() > 0


def test_the_activation_of_a_layer_closes_too():
    model = nn.input("x", (None, 3)) | nn.dense(2, activation="softmax")
    assert nn.build(model).unclosed.closing == Closing("softmax")
    assert nn.build(model, within=model | nn.relu()).unclosed.closing == Closing("softmax")


class Unhashable:
    __hash__ = None

    def __call__(self, x):
        return x


@pytest.mark.parametrize(
    "last",
    [
        nn.dense(2),
        nn.log_softmax(),
        nn.softmax(axis=(0, 1)),
        nn.softmax(where=jnp.array([True, False])),
        nn.activation(Unhashable()),
        lambda x: (x | nn.softmax()) * 0.5,
        lambda x: x | nn.softmax() | nn.flatten(),
    ],
    ids=["dense", "log", "two-axes", "mask", "unhashable", "scaled", "not-last"],
)
def test_what_ends_in_anything_else_offers_nothing(last):
    assert not isinstance(nn.build(body() | last), Closed)


def test_predictions_have_the_precision_of_the_activation_and_logits_that_of_the_body():
    half = replace(nn.softmax(), policy=Policy(compute="bf16", output="bf16"))
    model = nn.build(nn.input("x", (None, 3)) | nn.dense(2) | half)
    state = model.init(jax.random.key(0))
    logits, _ = model.unclosed.apply(state, X)
    assert (logits.dtype, model.unclosed.close(logits).dtype) == (jnp.float32, jnp.bfloat16)
    np.testing.assert_array_equal(model.unclosed.close(logits), model.apply(state, X)[0])
