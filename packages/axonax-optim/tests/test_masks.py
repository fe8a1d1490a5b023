"""Masks, wherever one is taken: dicts under jit, callable trees, functions, and what does not fit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import optim

PARAMS = {"a": jnp.ones(2), "b": jnp.full(3, 2.0)}
MATRICES = jax.tree.map(lambda leaf: leaf[:, None], PARAMS)
DICT = {"a": True, "b": False}


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Model:
    """A model that can be called, as those of Equinox can; a filtered one is a mask."""

    a: object
    b: object

    def __call__(self, x):
        raise AssertionError("a mask that is a tree was called")


MODEL = Model(PARAMS["a"], PARAMS["b"])
# By what makes an update from a mask: the wrappers around it and the options that take one.
TAKERS = {
    "masked": lambda mask: optim.masked(optim.scale(3.0), mask=mask),
    "chain": lambda mask: optim.chain(optim.identity(), optim.masked(optim.scale(3.0), mask=mask)),
    "groups": lambda mask: optim.groups({"**": optim.masked(optim.scale(3.0), mask=mask)}),
    "accumulate": lambda mask: optim.accumulate(optim.masked(optim.scale(3.0), mask=mask), 1),
    "skip_nonfinite": lambda mask: optim.skip_nonfinite(optim.masked(optim.scale(3.0), mask=mask)),
    "lookahead": lambda mask: optim.lookahead(optim.masked(optim.scale(3.0), mask=mask), every=100),
    "add_decayed_weights": lambda mask: optim.add_decayed_weights(1.0, mask=mask),
}
OPTIONS = {
    name: lambda mask, name=name: getattr(optim, name)(weight_decay=0.5, mask=mask)
    for name in (
        *("adadelta", "adafactor", "adamw", "adan", "lamb", "lars", "lion", "muon", "nadamw"),
        *("schedule_free", "soap", "sophia"),
    )
}


def run(transformation, params):
    step = jax.jit(lambda *given: transformation.update(*given, value_fn=lambda x: 0.0 * jnp.sum(x["a"])))
    return step(params, transformation.init(params), params)[0]


def by_path(params):
    return jax.tree.map(lambda leaf: leaf.size == 2, params)


@pytest.mark.parametrize("mask", [DICT, by_path, {"a": np.True_, "b": np.bool_(False)}])
@pytest.mark.parametrize("name", TAKERS)
def test_a_mask_under_jit(name, mask):
    updates = run(TAKERS[name](mask), PARAMS)
    expected = 2.0 if name == "add_decayed_weights" else 3.0
    np.testing.assert_allclose(updates["a"], expected)
    np.testing.assert_allclose(updates["b"], 2.0)


@pytest.mark.parametrize("name", TAKERS)
def test_a_tree_that_can_be_called_is_a_tree(name):
    transformation = TAKERS[name](Model(True, False))
    step = jax.jit(transformation.update)
    updates, _ = step(MODEL, transformation.init(MODEL), MODEL)
    np.testing.assert_allclose(updates.a, 2.0 if name == "add_decayed_weights" else 3.0)
    np.testing.assert_allclose(updates.b, 2.0)


@pytest.mark.parametrize("mask", [jax.tree_util.Partial(by_path), optim.no_decay()])
def test_a_function_is_called_whatever_it_is(mask):
    params = {"a": jnp.ones((2, 1)), "b": jnp.ones(3)}
    updates = run(optim.masked(optim.scale(3.0), mask=mask), params)
    assert (float(updates["a"][0, 0]), float(updates["b"][0])) == (3.0, 1.0)


def test_a_mask_may_be_less_deep_than_the_parameters():
    params = {"a": {"x": jnp.ones(2), "y": jnp.ones(1)}, "b": jnp.ones(3)}
    updates = run(optim.masked(optim.scale(3.0), mask=DICT), params)
    assert [float(leaf[0]) for leaf in jax.tree.leaves(updates)] == [3.0, 3.0, 1.0]
    updates = run(optim.masked(optim.scale(3.0), mask=True), params)
    assert [float(leaf[0]) for leaf in jax.tree.leaves(updates)] == [3.0, 3.0, 3.0]


@pytest.mark.parametrize("name", [*TAKERS, *OPTIONS])
def test_a_mask_of_another_structure(name):
    owner = "add_decayed_weights" if name == "add_decayed_weights" else "masked" if name in TAKERS else name
    made = {**TAKERS, **OPTIONS}[name]({"a": True, "c": {"x": False}})
    with pytest.raises(
        ValueError,
        match=rf"^{owner}: the mask does not fit the parameters:\n  b: no mark\n  c/x: no parameter",
    ):
        jax.eval_shape(
            lambda params: made.update(params, made.init(params), params, value_fn=lambda _: 0.0), MATRICES
        )


@pytest.mark.parametrize("mask", [lambda params: params, lambda params: {"a": 1, "b": 0}])
def test_a_mask_of_no_bools(mask):
    with pytest.raises(ValueError, match=r"adamw: the mask must hold True or False by path.* got .* at a"):
        jax.eval_shape(optim.adamw(mask=mask).init, PARAMS)


def test_a_trust_mask_is_named():
    with pytest.raises(ValueError, match=r"lars: the trust_mask does not fit the parameters:\n  b: no mark"):
        optim.lars(trust_mask={"a": True}).init(PARAMS)


def test_masks_that_are_alike_are_equal():
    made = [optim.masked(optim.sgd(0.1), mask={"a": True, "b": flag}) for flag in (True, True, False)]
    assert made[0] == made[1] != made[2]
    assert hash(made[0]) == hash(made[1])
