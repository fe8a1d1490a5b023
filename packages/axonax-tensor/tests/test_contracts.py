"""Model states and metric arithmetic."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax.tensor import Buildable, Metric, Model, ModelState
from axonax.tensor.contracts import constant_metric

pytestmark = pytest.mark.smoke

PARAMS = {
    "encoder": {"dense_0": {"kernel": jnp.ones((2, 2)), "bias": jnp.zeros(2)}, "dropout_0": {}},
    "head": {"kernel": jnp.ones(2), "bias": None},
    "chain": [jnp.ones(1), (jnp.zeros(1),)],
}


@pytest.mark.parametrize(
    "pattern",
    ["**", "encoder/**", "**/kernel", re.compile("bias"), lambda path, leaf: leaf.ndim == 1, "chain/0"],
)
def test_unfreeze_undoes_freeze(pattern):
    state = ModelState(params=PARAMS, buffers={"norm": {"mean": jnp.zeros(2)}})
    frozen = state.freeze(pattern)
    assert jax.tree.leaves(frozen.frozen)
    assert len(jax.tree.leaves(frozen)) == len(jax.tree.leaves(state))
    assert jax.tree.structure(frozen.variables) == jax.tree.structure(PARAMS)
    assert jax.tree.structure(frozen.unfreeze("**").params) == jax.tree.structure(PARAMS)
    assert frozen.buffers is state.buffers


def test_unfreeze_gives_an_equal_state():
    state = ModelState(
        params={"a": {"kernel": jnp.ones(1)}, "b": {"kernel": jnp.ones(1), "bias": jnp.ones(1)}}
    )
    there_and_back = state.freeze("a/**", "b/bias").unfreeze("**")
    assert jax.tree.structure(there_and_back) == jax.tree.structure(state)


def test_freezing_goes_on_from_what_is_frozen():
    state = ModelState(params=PARAMS).freeze("encoder/**").freeze("head/**")
    assert sorted(state.frozen) == ["encoder", "head"]
    assert "encoder" in state.unfreeze("head/**").frozen
    with pytest.raises(ValueError, match='"head/kernel" selects no leaf'):
        state.freeze("head/kernel")
    with pytest.raises(ValueError, match='pattern "chain" selects no leaf'):
        state.unfreeze("chain")


def test_a_state_is_a_pytree_that_functions_take_and_return():
    state = ModelState(params={"w": jnp.ones(2)}, buffers={"n": jnp.zeros(())})
    grown = jax.jit(lambda s: s.replace(buffers={"n": s.buffers["n"] + 1}))(state)
    assert grown.buffers["n"] == 1
    assert jax.tree.structure(grown) == jax.tree.structure(state)


def test_a_buildable_is_whatever_builds():
    class Described:
        def build(self):
            return Model(init=lambda key, x: ModelState(), apply=lambda state, x: (x, {}))

    assert isinstance(Described(), Buildable)
    assert not isinstance(object(), Buildable)


def mean_of(transform, merge=True):
    return Metric(
        init=lambda y_true, y_pred: jnp.zeros(2),
        update=lambda state, y_true, y_pred, *, weights=None, where=None: (
            state + jnp.stack([transform(y_true, y_pred).sum(), jnp.asarray(y_true.size, jnp.float32)])
        ),
        merge=(lambda one, two: one + two) if merge else None,
        compute=lambda state: state[0] / state[1],
    )


ABSOLUTE = mean_of(lambda y_true, y_pred: jnp.abs(y_true - y_pred))
SQUARED = mean_of(lambda y_true, y_pred: (y_true - y_pred) ** 2)


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        (ABSOLUTE + SQUARED, lambda a, s: a + s),
        (ABSOLUTE - SQUARED, lambda a, s: a - s),
        (2 * ABSOLUTE / (SQUARED + 1), lambda a, s: 2 * a / (s + 1)),
        (1 - SQUARED * ABSOLUTE, lambda a, s: 1 - s * a),
        (1 / (-ABSOLUTE), lambda a, s: -1 / a),
        (0.5 + ABSOLUTE / 4, lambda a, s: 0.5 + a / 4),
    ],
)
def test_arithmetic_of_metrics_is_arithmetic_of_their_values(metric, value):
    rng = np.random.default_rng(0)
    y_true, y_pred = rng.normal(size=(2, 7)).astype(np.float32)
    error = y_true.astype(np.float64) - y_pred
    expected = value(np.abs(error).mean(), (error**2).mean())
    np.testing.assert_allclose(metric(y_true, y_pred), expected, rtol=1e-5)
    parts = [
        metric.update(metric.init(t, p), t, p)
        for t, p in ((y_true[:3], y_pred[:3]), (y_true[3:], y_pred[3:]))
    ]
    np.testing.assert_allclose(metric.compute(metric.merge(*parts)), expected, rtol=1e-5)


def test_what_depends_on_order_cannot_be_merged():
    ordered = mean_of(lambda y_true, y_pred: y_pred, merge=False)
    assert (ordered + 1).merge is None
    assert (ABSOLUTE * ordered).merge is None
    assert constant_metric(3.0)(None, None) == 3.0


def test_a_state_shows_its_tree_and_not_its_numbers():
    state = ModelState(
        params={"dense_0": {"kernel": jnp.ones((4, 8)), "bias": jnp.zeros(8, jnp.bfloat16)}},
        buffers={"dropout_0": {"count": 3}, "norm": {"mean": jax.ShapeDtypeStruct((8,), "float32")}},
    )
    assert repr(state).splitlines() == [
        "ModelState",
        "  params",
        "    dense_0/bias bfloat16[8]",
        "    dense_0/kernel float32[4, 8]",
        "  buffers",
        "    dropout_0/count int32[]",
        "    norm/mean float32[8]",
    ]
    assert repr(ModelState()) == "ModelState(empty)"
    assert "float32[4, 8]" in repr(jax.eval_shape(lambda: state.replace(buffers={})))


def test_a_large_state_shows_40_leaves_and_how_many_more():
    many = {f"dense_{index}": np.zeros(2) for index in range(50)}
    lines = repr(ModelState(params=many, buffers={"a": 1, "b": 2})).splitlines()
    assert len(lines) == 44
    assert lines[-2:] == ["    ... and 10 more", "  buffers: 2 leaves"]
    full = repr(ModelState(params=dict(list(many.items())[:40]), frozen={"text": "none"})).splitlines()
    assert full[-1] == "  frozen: 1 leaf"
    assert repr(ModelState(params={"a": "text"})).splitlines()[-1] == "    a str"
