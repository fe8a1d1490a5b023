"""Frozen leaves, and parts of a whole: neither changes a value."""

import re

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from axonax import graph as nn

X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


def model():
    encoder = nn.block(lambda x: x | nn.dense(4, activation="relu") | nn.batch_norm(), name="encoder")
    return nn.input("x", (None, 3)) | encoder | nn.dense(2)


WHOLE = model()
STATE = nn.build(WHOLE).init(jax.random.key(0))
PATTERNS = ["encoder/**", "**/kernel", "dense_0/*", re.compile("norm"), lambda path, leaf: leaf.ndim == 1]


@jax.jit
def loss_and_gradient(params, state):
    def loss(params):
        prediction, _ = nn.build(WHOLE).apply(state.replace(params=params), X, train=True)
        return (prediction**2).sum()

    return jax.value_and_grad(loss)(params)


@hypothesis.settings(max_examples=5, deadline=None)
@hypothesis.given(patterns=st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3, unique_by=id))
def test_freezing_changes_no_output_and_gives_no_gradient(patterns):
    frozen = STATE.freeze(*patterns)
    np.testing.assert_array_equal(nn.predict(WHOLE, frozen, X), nn.predict(WHOLE, STATE, X))
    gradient = jax.eval_shape(loss_and_gradient, frozen.params, frozen)[1]
    assert jax.tree.structure(gradient) == jax.tree.structure(frozen.params)
    assert len(jax.tree.leaves(gradient)) + len(jax.tree.leaves(frozen.frozen)) == 6
    assert jax.tree.structure(frozen.unfreeze("**").params) == jax.tree.structure(STATE.params)


def test_the_gradient_of_what_is_left_is_the_same():
    frozen = STATE.freeze("encoder/**")
    (value, part), (same, whole) = (loss_and_gradient(state.params, state) for state in (frozen, STATE))
    np.testing.assert_allclose(value, same, rtol=1e-6)
    np.testing.assert_allclose(part["dense_0"]["kernel"], whole["dense_0"]["kernel"], rtol=1e-5)
    assert list(part) == ["dense_0"]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: STATE.freeze("encoder"), 'pattern "encoder" selects no leaf: did you mean "encoder/**"?'),
        (
            lambda: STATE.freeze("dense_0/kernl"),
            'pattern "dense_0/kernl" selects no leaf: did you mean "dense_0/kernel"',
        ),
        (lambda: STATE.unfreeze("**"), 'pattern "**" selects no leaf: none are known'),
    ],
)
def test_a_pattern_that_selects_nothing_lists_near_paths(call, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        call()


def test_a_part_within_its_whole_fits_the_states_of_the_whole():
    x = nn.input("x", (None, 3))
    left, right = x | nn.dense(4), x | nn.dense(4)
    whole = left + right
    state = nn.build(whole).init(jax.random.key(0))
    part = nn.build(right, within=whole)
    kernel = np.asarray(state.params["dense_1"]["kernel"])
    np.testing.assert_allclose(nn.predict(part, state, X), X @ kernel, rtol=1e-5)
    assert list(part.init(jax.random.key(0)).params) == ["dense_1"]
    np.testing.assert_array_equal(part.init(jax.random.key(0)).params["dense_1"]["kernel"], kernel)
