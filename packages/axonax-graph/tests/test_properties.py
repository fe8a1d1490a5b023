"""What holds for every model: random ones keep their values through what must not change them."""

import functools
import pickle
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from axonax import graph as nn
from axonax.tensor import trees

sys.path.insert(0, str(Path(__file__).parent))

import graphs

KEY = jax.random.key(0)
TRAIN = {"train": True, "key": jax.random.key(1)}


def applied_again(name, node):
    return node.layer if node.parents else None


def popped_and_back(model):
    parents, layer = nn.pop_node(model)
    return layer(*parents)


SAME = {
    "pin": nn.pin,
    "map_nodes keeps": lambda model: nn.map_nodes(model, lambda path, node: None),
    "map_nodes gives the same": lambda model: nn.map_nodes(model, lambda path, node: node.layer),
    "rewrite_nodes keeps": lambda model: nn.rewrite_nodes(model, lambda name, node: None),
    "rewrite_nodes applies again": lambda model: nn.rewrite_nodes(model, applied_again),
    "pop_node and back": popped_and_back,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}
"""What gives the same model again."""


def outputs(model, state, **mode):
    """The prediction and the buffers, bit by bit."""
    return graphs.bits(nn.build(model).apply(state, *graphs.inputs_of(model, graphs.data()), **mode))


def copies_are_equal(model, data):
    state, table = graphs.state_of(model), str(model)
    run, trained = outputs(model, state), outputs(model, state, **TRAIN)
    for name, rewrite in SAME.items():
        same = rewrite(model)
        assert str(same) == table, name
        assert graphs.bits(graphs.state_of(same)) == graphs.bits(state), name
        assert outputs(same, state) == run, name
        assert outputs(same, state, **TRAIN) == trained, name


def freezing_changes_nothing(model, data):
    state = graphs.state_of(model)
    paths = sorted(trees.flatten(state.params))
    assume(paths)
    frozen = state.freeze(*data.draw(st.lists(st.sampled_from(paths), min_size=1, unique=True)))
    assert outputs(model, frozen) == outputs(model, state)
    assert outputs(model, frozen, **TRAIN) == outputs(model, state, **TRAIN)
    assert graphs.bits(frozen.unfreeze("**")) == graphs.bits(state)


def parts_give_what_the_whole_does(model, data):
    state, inputs = graphs.state_of(model), named_inputs(model)
    node = data.draw(st.sampled_from(graphs.nodes_of(model)))
    part, both = nn.build(node, within=model), nn.build(nn.container((model, node)))
    first, of_whole = (trees.flatten(each.params) for each in (part.init(KEY), state))
    assert graphs.bits(first) == graphs.bits({path: of_whole[path] for path in first})
    for mode in ({}, TRAIN):
        value, buffers = part.apply(state, inputs, **mode)
        (_, expected), after = both.apply(state, inputs, **mode)
        assert graphs.bits(value) == graphs.bits(expected)
        assert trees.diff(buffers, after) == []


def insertions_leave_other_leaves_alone(model, data):
    values = zip(graphs.nodes_of(model), model._facts.values, strict=True)
    rows = [place for place, (_, value) in enumerate(values) if is_rows(value)]
    chosen = data.draw(st.sampled_from(rows))
    names = nn.fold_nodes(model, [], lambda names, name, node: [*names, name])
    new = nn.dense(graphs.WIDTH, name=data.draw(st.sampled_from([None, "new"])))

    def insert(name, node):
        return (lambda *parents: new(node.over(parents))) if name == names[chosen] else None

    state, deeper = graphs.state_of(model), nn.rewrite_nodes(model, insert)
    leaves = trees.flatten(graphs.state_of(deeper).variables)
    kept = {path: leaves.pop(path) for path in trees.flatten(state.variables)}
    assert graphs.bits(kept) == graphs.bits(trees.flatten(state.variables))
    assert [leaf.shape for leaf in leaves.values()] == [(graphs.WIDTH,), (graphs.WIDTH, graphs.WIDTH)]


def stacked_states_run_as_one_by_one(model, data):
    apply, inputs = nn.build(model).apply, graphs.inputs_of(model, graphs.data())
    states = [nn.build(model).init(key) for key in jax.random.split(KEY, 2)]
    assume(jax.tree.leaves(states))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    together = jax.vmap(lambda state: apply(state, *inputs)[0])(stacked)
    for place, state in enumerate(states):
        alone, _ = apply(state, *inputs)
        jax.tree.map(lambda leaf, one, place=place: close(leaf[place], one), together, alone)


def compiled_once_for_equal_shapes(model, data):
    traced = []
    counting = nn.function(lambda value: (traced.append(1), value)[1])
    model = model | counting
    apply, state = jax.jit(nn.build(model).apply, static_argnames="train"), graphs.state_of(model)
    before, state = len(traced), jax.eval_shape(lambda: state)
    for seed in range(3):
        train = functools.partial(apply, train=True, key=jax.random.key(seed))
        _, buffers = jax.eval_shape(train, state, *graphs.inputs_of(model, graphs.data(seed)))
        state = state.replace(buffers=buffers)
    assert len(traced) == before + 1
    jax.eval_shape(apply, state, *graphs.inputs_of(model, graphs.data(rows=3)))
    assert len(traced) == before + 2


def first_values_have_the_shapes_that_are_foretold(model, data):
    init = nn.build(model).init
    assert trees.diff(jax.eval_shape(init, KEY), init(KEY)) == []


PROPERTIES = (
    copies_are_equal,
    freezing_changes_nothing,
    parts_give_what_the_whole_does,
    insertions_leave_other_leaves_alone,
    stacked_states_run_as_one_by_one,
    compiled_once_for_equal_shapes,
    first_values_have_the_shapes_that_are_foretold,
)
every_property = pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)


@every_property
@settings(max_examples=12, deadline=None, derandomize=True)
@given(model=graphs.models(), data=st.data())
def test_of_some_models(holds, model, data):
    holds(model, data)


@pytest.mark.slow
@every_property
@settings(max_examples=200, deadline=None)
@given(model=graphs.models(most=20), data=st.data())
def test_of_many_models(holds, model, data):
    holds(model, data)


LARGE = {
    "dense": lambda: nn.input("x", (None, 10**6)) | nn.dense(10**6),
    "embedding": lambda: nn.input("x", (None, 8), dtype="int32") | nn.embedding(10**9, 1000),
    "repeat": lambda: nn.input("x", (None, 10**4)) | nn.repeat(lambda x: x | nn.dense(10**4), 10**4),
}


@pytest.mark.parametrize("model", LARGE.values(), ids=LARGE.keys())
def test_shapes_of_a_trillion_parameters_take_no_memory(model):
    model = model()
    held = len(jax.live_arrays())
    state = jax.eval_shape(nn.build(model).init, KEY)
    leaves = jax.tree.leaves(state)
    assert all(type(leaf) is jax.ShapeDtypeStruct for leaf in leaves)
    assert sum(leaf.size for leaf in leaves) >= 10**12
    assert len(jax.live_arrays()) == held
    assert f"Total Parameters: {sum(leaf.size for leaf in leaves)}\n" in str(model)


def test_a_model_runs_compiled_and_traced_once():
    traced = []
    counting = nn.layer(lambda x: (traced.append(x.shape), x)[1])
    model = nn.input("x", (None, 4)) | nn.dense(4) | nn.batch_norm() | counting | nn.dropout(0.5)
    state = nn.build(model).init(KEY)
    step, before = jax.jit(nn.build(model).apply, static_argnames="train"), len(traced)
    for seed in range(4):
        _, buffers = step(state, graphs.data(seed)["a"], train=True, key=jax.random.key(seed))
        state = state.replace(buffers=buffers)
    assert traced[before:] == [(2, 4)]


def named_inputs(model):
    arrays = graphs.data()
    return {name: arrays[name] for name in arrays if name in model._plan.known_inputs}


def is_rows(value):
    return getattr(value, "shape", None) == (None, graphs.WIDTH)


def close(one, other):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
