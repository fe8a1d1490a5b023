"""Rewrites of models: paths stay, states fit, what is untouched is the same to the bit."""

import re

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax.tensor import trees

KEY = jax.random.key(0)
X = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)


def chain():
    return nn.input("x", (None, 3)) | nn.dense(4, activation="relu") | nn.dropout(0.5) | nn.dense(2)


def blocks():
    encoder = nn.block(
        lambda x: x | nn.block(lambda y: y | nn.dense(3, activation="tanh")) | nn.batch_norm(), name="enc"
    )
    return nn.input("x", (None, 3)) | encoder | encoder | nn.dense(3) | nn.softmax()


def shared_and_tied():
    x, encode = nn.input("x", (None, 3)), nn.dense(3)
    first = nn.dense(3, kernel_initializer=nn.tied(encode, transform=jnp.transpose), name="decode")

    def scaled(x, gain):
        return x * gain[None]

    gain = nn.param((3,), nn.tied(first, "bias"))
    return {"twice": x | encode | encode, "tied": x | first | nn.layer(scaled, params={"gain": gain})}


MODELS = {
    "chain": chain,
    "blocks": blocks,
    "shared and tied": lambda: nn.container(shared_and_tied()),
    "missing": lambda: nn.or_else(
        nn.input("y", (None, 3), optional=True) | nn.dense(2), nn.input("x", (None, 3))[:, :2] * 2.0
    ),
}
REWRITES = {
    "pin": nn.pin,
    "map_nodes": lambda model: nn.map_nodes(model, lambda path, node: None),
    "rewrite_nodes": lambda model: nn.rewrite_nodes(model, lambda name, node: None),
    "rewrite_nodes by the layer": lambda model: nn.rewrite_nodes(
        model, lambda name, node: node.layer if node.parents else None
    ),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("rewrite", REWRITES)
def test_an_identity_rewrite_changes_no_bit_and_no_line_of_the_table(model, rewrite):
    old = MODELS[model]()
    new = REWRITES[rewrite](old)
    state = nn.build(old).init(KEY)
    again = nn.build(new).init(KEY)
    assert trees.diff(state, again) == []
    assert jax.tree.all(jax.tree.map(np.array_equal, state, again))
    assert str(new) == str(old)
    for train in (False, True):
        call = [nn.build(each).apply(state, {"x": X}, train=train, key=KEY) for each in (old, new)]
        assert jax.tree.all(jax.tree.map(np.array_equal, *call))


def test_a_pinned_model_is_pinned():
    model = nn.pin(blocks())
    assert nn.pin(model) is model
    assert all(path in str(model) for path in ("enc/block_0/dense_0", "enc/batch_norm_0", "softmax_0"))


def layers_of(model):
    return nn.fold_nodes(model, {}, lambda found, name, node: {**found, name: node.layer})


@pytest.mark.parametrize(
    ("rewrite", "names"),
    [
        (lambda m: nn.truncate(m, at="relu_0"), "x dense_0 relu_0"),
        (lambda m: nn.truncate(m, at="drop*"), "x dense_0 relu_0 dropout_0"),
        (lambda m: nn.graft(m, "relu_0", nn.dense(7)), "x dense_0 relu_0 dense_1"),
        (
            lambda m: nn.graft(m, "dense_1", lambda y: y | nn.dense(7)),
            "x dense_0 relu_0 dropout_0 dense_1 dense_2",
        ),
        (lambda m: nn.replace(m, {"relu_0": nn.gelu()}), "x dense_0 relu_0 dropout_0 dense_1"),
        (lambda m: nn.replace(m, {"relu_0": nn.gelu(name="g")}), "x dense_0 g dropout_0 dense_1"),
        (
            lambda m: nn.replace(m, {"dense_1": nn.dense(2, activation="relu")}),
            "x dense_0 relu_0 dropout_0 dense_1 relu_1",
        ),
        (lambda m: nn.pop_node(m)[0][0], "x dense_0 relu_0 dropout_0"),
        (
            lambda m: nn.rewrite_nodes(
                m, lambda name, node: (lambda x: x) if node.layer.op == "dropout" else None
            ),
            "x dense_0 relu_0 dense_1",
        ),
    ],
)
def test_a_rewrite_leaves_the_other_paths_alone(rewrite, names):
    assert " ".join(layers_of(rewrite(chain()))) == names


def test_replace_changes_what_a_pattern_selects():
    model = nn.replace(blocks(), re.compile("dense"), units=3, use_bias=False)
    found = {
        name: layer.arguments["use_bias"] for name, layer in layers_of(model).items() if layer.op == "dense"
    }
    assert found == {"enc/block_0/dense_0": False, "enc/block_0/dense_0@1": False, "dense_0": False}
    wide = nn.replace(chain(), lambda path, node: node.layer.op == "dense", units=9)
    assert [wide.layer.arguments["units"], layers_of(wide)["dense_0"].arguments["units"]] == [9, 9]


def test_replace_gives_each_place_a_layer_of_its_own():
    model = nn.replace(chain(), {"dense_*": nn.dense(3)})
    assert sorted(nn.build(model).init(KEY).params) == ["dense_0", "dense_1"]


def test_replace_of_a_layer_is_the_call_with_other_arguments():
    layer = nn.dense(4, activation="relu", name="first")
    assert nn.replace(layer, units=5).arguments["units"] == 5
    assert nn.replace(layer, units=5).computation.then is layer.computation.then
    assert nn.replace(layer, activation="tanh").computation.then.op == "tanh"
    assert (nn.replace(layer, use_bias=False).name, nn.replace(layer, name="second").name) == (
        "first",
        "second",
    )


def test_ties_follow_what_they_are_tied_to():
    model = nn.replace(nn.container(shared_and_tied()), {"dense_0": nn.dense(3, use_bias=False)})
    state = nn.build(model).init(KEY)
    kernel = np.asarray(state.params["dense_0"]["kernel"], np.float64)
    decoded = X @ kernel.T + 0.0
    np.testing.assert_allclose(nn.predict(model, state, X)["twice"], X @ kernel @ kernel, rtol=1e-5)
    np.testing.assert_allclose(nn.predict(model, state, X)["tied"], decoded * 0, rtol=1e-5)
    assert "bias" not in state.params["dense_0"]


@pytest.mark.parametrize(
    ("rewrite", "new"),
    [
        (lambda m, **k: nn.replace(m, {"dense_1": nn.dense(5)}, **k), ["dense_1/bias", "dense_1/kernel"]),
        (lambda m, **k: nn.replace(m, "dense_1", use_bias=False, **k), []),
        (lambda m, **k: nn.graft(m, "relu_0", nn.dense(2), **k), ["dense_1/bias", "dense_1/kernel"]),
        (lambda m, **k: nn.truncate(m, at="relu_0", state=k["state"]), []),
        (
            lambda m, **k: nn.rewrite_nodes(
                m, lambda name, node: nn.dense(2) if name == "dense_1" else None, **k
            ),
            ["dense_1/bias", "dense_1/kernel"],
        ),
        (
            lambda m, **k: nn.map_nodes(
                m, lambda path, node: nn.dense(2) if path == "dense_1" else None, **k
            ),
            [],
        ),
    ],
)
def test_state_is_carried_along(rewrite, new):
    model = chain()
    state = nn.build(model).init(KEY).freeze("dense_0/**")
    made, carried = rewrite(model, state=state, key=jax.random.key(1))
    assert sorted(carried.frozen["dense_0"]) == ["bias", "kernel"]
    fresh = trees.flatten(nn.build(made).init(jax.random.key(1)).variables)
    old, kept = trees.flatten(state.variables), trees.flatten(carried.variables)
    assert sorted(kept) == sorted(fresh)
    for path, leaf in kept.items():
        np.testing.assert_array_equal(leaf, (fresh if path in new else old)[path])
    nn.predict(made, carried, X)


@hypothesis.settings(max_examples=5, deadline=None)
@hypothesis.given(place=st.integers(0, 3))
def test_an_inserted_layer_leaves_the_first_values_of_other_paths_alone(place):
    model = chain()
    chosen = ["x", "dense_0", "relu_0", "dropout_0"][place]

    def insert(name, node):
        new = nn.dense(3 if name == "x" else 4, name="new")
        return (lambda *parents: node.over(parents) | new) if name == chosen else None

    old, new = (nn.build(each).init(KEY).params for each in (model, nn.rewrite_nodes(model, insert)))
    assert sorted(new.pop("new")) == ["bias", "kernel"]
    assert jax.tree.all(jax.tree.map(np.array_equal, old, new))


def test_carry_fits_shapes_dtypes_and_open_inputs():
    old = nn.input("x") | nn.dense(4) | nn.dense(2)
    state = nn.build(old).init(KEY, X).freeze("dense_1/bias")
    same = nn.carry(old, state)
    assert trees.diff(same, state) == []
    more = nn.carry(old | nn.dense(5), state, X, key=KEY)
    assert more.params["dense_2"]["kernel"].shape == (2, 5)
    np.testing.assert_array_equal(more.params["dense_0"]["kernel"], state.params["dense_0"]["kernel"])
    assert list(more.frozen) == ["dense_1"]


def test_moments_of_an_optimizer_are_carried():
    mean = {"a": {"kernel": jnp.ones(2), "bias": jnp.ones(1)}, "b": {"kernel": jnp.ones(3)}}
    fresh = {"first": {"kernel": jnp.zeros(2), "bias": jnp.zeros(4)}, "c": {"kernel": jnp.zeros(3)}}
    count, moments = nn.carried((jnp.array(3), mean), (jnp.array(0), fresh), renamed={"a": "first"})
    assert count == 3
    expected = {"first": {"kernel": [1, 1], "bias": [0] * 4}, "c": {"kernel": [0] * 3}}
    assert jax.tree.map(lambda leaf: leaf.tolist(), moments) == expected


def test_a_popped_layer_goes_back():
    (body,), head = nn.pop_node(chain())
    assert str(head(body)) == str(chain())


STATE = nn.build(chain()).init(KEY)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nn.pin(3), TypeError, 'pin: needs a model, such as nn.input("x") | nn.dense(2), got int'),
        (
            lambda: nn.replace(chain(), "dens_0", units=3),
            ValueError,
            'replace: pattern "dens_0" selects no layer: did you mean "dense_0", "dense_1"?',
        ),
        (
            lambda: nn.replace(blocks(), "enc", units=3),
            ValueError,
            'replace: pattern "enc" selects no layer: did you mean "enc/**"?',
        ),
        (lambda: nn.replace(chain(), [], units=3), ValueError, "replace: needs a pattern, got none"),
        (lambda: nn.replace(chain(), "dense_0"), TypeError, "replace: of a model it takes layers by pattern"),
        (
            lambda: nn.replace(nn.dense(3), state=STATE),
            TypeError,
            "replace: of a layer it takes the arguments",
        ),
        (lambda: nn.replace(chain(), {"dense_0": 3}), TypeError, "replace: 'dense_0' needs a layer, got int"),
        (
            lambda: nn.replace(chain(), {"dense_0": nn.dense(2)}, units=3),
            TypeError,
            "replace: takes layers by pattern, or arguments of the builder, not both",
        ),
        (
            lambda: nn.replace(chain(), "dense_0", unit=3),
            TypeError,
            'dense: unknown option "unit": did you mean "units"?',
        ),
        (
            lambda: nn.replace(chain(), "dense_0", activation="relu"),
            TypeError,
            "replace: an activation is a layer of its own",
        ),
        (
            lambda: nn.replace(chain(), "dense_1", units=3, state=STATE),
            ValueError,
            'replace: pass key=jax.random.key(...) for 2 new leaves: "dense_1/bias", "dense_1/kernel"',
        ),
        (
            lambda: nn.truncate(chain(), at="dense_*"),
            ValueError,
            'truncate: at must select one node, got 2: "dense_0", "dense_1"',
        ),
        (
            lambda: nn.graft(chain(), "relu", nn.dense(2)),
            ValueError,
            'graft: pattern "relu" selects no node: did you mean "relu_0"',
        ),
        (lambda: nn.pop_node(nn.input("x")), ValueError, "pop_node: nothing leads to <input node"),
        (
            lambda: nn.map_nodes(chain(), lambda path, node: node),
            TypeError,
            "map_nodes: the function must return a layer or None for <input node",
        ),
        (
            lambda: nn.rewrite_nodes(chain(), lambda name, node: node),
            TypeError,
            "needs None or a function of its parents, got Node",
        ),
        (
            lambda: nn.rewrite_nodes(chain(), lambda name, node: lambda *parents: 3),
            TypeError,
            "what stands in its place must be a node, got int",
        ),
        (lambda: nn.carry(chain(), {}), TypeError, "carry: state must be the ModelState of init, got dict"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()
