"""Groups by path: which optimizer takes which leaf, what is kept for it, what is refused."""

import dataclasses
import functools
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import optim
from axonax.tensor import trees

PARAMS = {
    "encoder": {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}},
    "head": {"kernel": jnp.ones((3, 1)), "bias": jnp.ones(1)},
}


class Pair(NamedTuple):
    kernel: Any
    bias: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Layer:
    kernel: Any
    bias: Any


def labels(optimizer, params=PARAMS):
    """The group of each leaf, from the table."""
    rows = [re.split(r"  +", line) for line in optim.describe(optimizer, params).splitlines()[1:]]
    return {row[0]: row[2] for row in rows}


def is_vector(path, leaf):
    return leaf.ndim == 1


@pytest.mark.parametrize(
    ("pattern", "taken"),
    [
        ("**/bias", ["encoder/dense/bias", "head/bias"]),
        ("encoder/**", ["encoder/dense/bias", "encoder/dense/kernel"]),
        ("head/*", ["head/bias", "head/kernel"]),
        (re.compile("head/k.*"), ["head/kernel"]),
        (is_vector, ["encoder/dense/bias", "head/bias"]),
    ],
)
def test_a_pattern_takes_its_leaves(pattern, taken):
    optimizer = optim.groups({pattern: optim.sgd(1.0)}, default=optim.frozen())
    updates, _ = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    moved = [path for path, leaf in trees.flatten(updates).items() if np.any(leaf)]
    assert sorted(moved) == taken


def test_the_first_match_wins():
    rules = {"encoder/**": optim.frozen(), "**/bias": optim.sgd(0.1)}
    found = labels(optim.groups(rules, default=optim.adam(0.1)))
    assert found == {
        "encoder/dense/bias": "encoder/**",
        "encoder/dense/kernel": "encoder/**",
        "head/bias": "**/bias",
        "head/kernel": "default",
    }


@pytest.mark.parametrize(
    ("params", "pattern", "taken"),
    [
        ((1.0, (2.0, 3.0)), "1/*", ["1/0", "1/1"]),
        ([{"a": 1.0}, {"a": 2.0}], "1/**", ["1/a"]),
        ({"x": Pair(1.0, 2.0), "y": Pair(3.0, None)}, "**/bias", ["x/bias"]),
        ({"x": Layer(1.0, 2.0), "y": [Layer(3.0, 4.0)]}, "y/**/kernel", ["y/0/kernel"]),
        ({"a": jnp.ones((2, 2), jnp.bfloat16), "b": np.ones(2)}, lambda path, leaf: leaf.ndim > 1, ["a"]),
        (3.0, "**", [""]),
    ],
    ids=["tuple", "list", "NamedTuple", "dataclass", "dtypes", "root"],
)
def test_any_container(params, pattern, taken, quick):
    optimizer = optim.groups({pattern: optim.sgd(1.0)}, default=optim.frozen())
    if params == 3.0:
        optimizer = optim.groups({pattern: optim.sgd(1.0)})
    updates, _ = quick(lambda tree: optimizer.update(tree, optimizer.init(tree), tree))(params)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    assert [path for path, leaf in trees.flatten(updates).items() if np.any(leaf)] == taken
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(np.shape(leaf), jnp.float32), params)
    found = labels(optimizer, shapes)
    assert [path for path, label in found.items() if label != "default"] == taken


def test_nothing_to_optimize():
    optimizer = optim.groups({}, default=optim.adam())
    assert optimizer.update({}, optimizer.init({}), {})[0] == {}
    assert optim.describe(optimizer, {}) == "Parameter  Shape  Group  Learning rate  Decay"


def test_each_group_does_what_its_optimizer_does_alone(quick):
    optimizer = optim.groups({"encoder/**": optax.adam(0.1)}, default=optim.adamw(0.2, weight_decay=0.5))
    parts = {"encoder": optax.adam(0.1), "head": optax.adamw(0.2, weight_decay=0.5, eps_root=1e-15)}

    @quick
    def compare(gradients):
        state, alone = optimizer.init(PARAMS), {name: part.init(PARAMS[name]) for name, part in parts.items()}
        pairs = []
        for number in (1.0, 2.0):
            scaled = jax.tree.map(lambda leaf, number=number: leaf * number, gradients)
            updates, state = optimizer.update(scaled, state, PARAMS)
            for name, part in parts.items():
                expected, alone[name] = part.update(scaled[name], alone[name], PARAMS[name])
                pairs.append((updates[name], expected))
        return pairs

    for got, expected in compare(PARAMS):
        jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5), got, expected)


def test_frozen_keeps_nothing():
    moments = trees.nbytes(optim.adam().init(PARAMS["head"]))
    frozen = optim.groups({"encoder/**": optim.frozen()}, default=optim.adam())
    assert trees.nbytes(frozen.init(PARAMS)) == moments
    assert trees.nbytes(optim.frozen().init(PARAMS)) == 0


def test_layout_and_structure_stay(quick):
    optimizer = optim.groups({"**/bias": optim.sgd(0.1, momentum=0.9)}, default=optim.adam())
    state = optimizer.init(PARAMS)
    updates, following = quick(optimizer.update)(PARAMS, state, PARAMS)
    assert jax.tree.structure(following) == jax.tree.structure(state)
    assert jax.tree.structure(updates) == jax.tree.structure(PARAMS)
    paths = list(trees.flatten(state))
    assert "groups/**/bias/inner/trace/trace/head/bias" in paths
    assert "groups/default/inner/moments/mu/head/kernel" in paths
    assert "groups/default/inner/moments/mu/head/bias" not in paths


def test_hyperparameters_by_group():
    optimizer = optim.groups({"**/bias": optim.sgd(0.1)}, default=optim.adam(0.2))
    state = optim.with_hyperparams(optimizer.init(PARAMS), **{"**/bias": {"learning_rate": 0.5}})
    read = optim.hyperparams(state)
    np.testing.assert_allclose(
        [read["**/bias"]["learning_rate"], read["default"]["learning_rate"]], [0.5, 0.2]
    )
    updates, state = optimizer.update(PARAMS, optim.with_hyperparams(state, learning_rate=2.0), PARAMS)
    np.testing.assert_allclose([updates["head"]["bias"][0], updates["head"]["kernel"][0, 0]], -2.0, rtol=1e-5)


def test_setting_never_recompiles(quick):
    optimizer = optim.groups({"**/bias": optim.sgd(0.1)}, default=optim.adam(0.2))
    traces = []

    @quick
    def step(state):
        traces.append(None)
        return optimizer.update(PARAMS, state, PARAMS)[1]

    state = optimizer.init(PARAMS)
    for rate in (0.1, 0.2, None):
        state = step(optim.with_hyperparams(state, **{"**/bias": {"learning_rate": rate}}))
    assert len(traces) == 1


def test_groups_built_alike_are_equal():
    def build(rate):
        return optim.groups({"**/bias": optim.sgd(rate)}, default=optim.frozen())

    assert build(0.1) == build(0.1)
    assert hash(build(0.1)) == hash(build(0.1))
    assert build(0.1) != build(0.2)


def firsts(tree):
    return [float(leaf.ravel()[0]) for leaf in jax.tree.leaves(tree)]


def test_groups_inside_a_chain_and_groups_inside_groups(quick):
    inner = optim.groups({"**/kernel": optim.sgd(1.0)}, default=optim.sgd(2.0))
    outer = optim.chain(optim.clip(0.5), optim.groups({"head/**": inner}, default=optim.frozen()))
    state = quick(outer.init)(PARAMS)
    updates, _ = quick(outer.update)(PARAMS, state, PARAMS)
    assert firsts(updates) == [0.0, 0.0, -1.0, -0.5]
    assert labels(outer) == {
        "encoder/dense/bias": "default",
        "encoder/dense/kernel": "default",
        "head/bias": "head/** > default",
        "head/kernel": "head/** > **/kernel",
    }
    state = optim.with_hyperparams(state, **{"head/**": {"default": {"learning_rate": 0.25}}})
    found = optim.hyperparams(state)["head/**"]
    assert {label: float(numbers["learning_rate"]) for label, numbers in found.items()} == {
        "**/kernel": 1.0,
        "default": 0.25,
    }


def test_averages_of_a_group_are_evaluated(quick):
    averaged = optim.accumulate(optim.chain(optim.sgd(1.0), optim.ema(0.75)), 2)
    rules = {"head/bias": averaged, "head/**": optim.lookahead(optim.sgd(1.0), every=1)}
    optimizer = optim.groups(rules, default=optim.frozen())

    @quick
    def two_steps(params):
        state = optimizer.init(params)
        for _ in range(2):
            updates, state = optimizer.update(PARAMS, state, params)
            params = optim.apply_updates(params, updates)
        return params, optim.evaluation_params(state, params)

    params, best = two_steps(PARAMS)
    assert (firsts(params), firsts(best)) == ([1.0, 1.0, 0.0, 0.0], [1.0, 1.0, 0.75, 0.0])


@pytest.mark.parametrize(
    ("wrap", "inner"),
    [
        ("groups", optim.sam(1.0, rho=1.0)),
        ("masked", optim.sam(1.0, rho=1.0)),
        ("groups", optim.sophia(1.0, key=0)),
        ("groups", optim.lbfgs()),
    ],
    ids=["sam", "sam_masked", "sophia", "lbfgs"],
)
def test_an_objective_within_a_group_is_one_of_its_parameters(wrap, inner, quick):
    made = {
        "groups": lambda: optim.groups({"a": inner}, default=optim.frozen()),
        "masked": lambda: optim.masked(inner, "a"),
    }
    optimizer, params = made[wrap](), {"a": jnp.array([2.0]), "b": jnp.array([3.0])}

    def loss(params):
        return jnp.sum(params["b"] * params["a"] ** 2)

    @functools.partial(quick, static_argnums=(0, 2))
    def step(optimizer, params, loss):
        value, grad = jax.value_and_grad(loss)(params)
        told = {"value": value, "grad": grad, "value_fn": loss}
        return optimizer.update(grad, optimizer.init(params), params, **told)[0]

    alone = step(inner, params["a"], lambda a: loss({"a": a, "b": params["b"]}))
    np.testing.assert_allclose(step(optimizer, params, loss)["a"], alone, rtol=1e-6)


def test_labels_are_told_apart():
    rules = {"b$": 0.1, re.compile("b$"): 0.2, (lambda path, leaf: path == "c"): 0.3, "default": 0.4}
    optimizer = optim.groups(
        {pattern: optim.sgd(rate) for pattern, rate in rules.items()}, default=optim.sgd(0.5)
    )
    params = {"b$": 1.0, "ab": 1.0, "c": 1.0, "default": 1.0, "rest": 1.0}
    assert labels(optimizer, params) == {
        "ab": "b$_1",
        "b$": "b$",
        "c": "<lambda>",
        "default": "default_1",
        "rest": "default",
    }


@pytest.mark.parametrize(
    ("rules", "default", "message"),
    [
        ({"**/biass": optim.sgd()}, optim.adam(), r'pattern "\*\*/biass" selects no leaf: .*bias'),
        (
            {"head/**": optim.sgd(), "head/bias": optim.adam()},
            optim.adam(),
            r'the pattern "head/bias" decides no parameter.*\n  head/bias: taken by "head/\*\*"',
        ),
        (
            {"head/**": optim.sgd()},
            None,
            r"there is no default:\n  encoder/dense/bias\n  encoder/dense/kernel",
        ),
        ({is_vector: optim.sgd(), "**/bias": optim.sgd()}, optim.adam(), r'taken by "is_vector"'),
        (
            {(lambda path, leaf: (leaf > 0).all()): optim.sgd()},
            optim.adam(),
            r"groups: a predicate must decide by path, shape and dtype, but one looks at an array's values",
        ),
    ],
)
def test_what_does_not_fit_the_parameters(rules, default, message):
    with pytest.raises(ValueError, match=message):
        optim.groups(rules, default=default).init(PARAMS)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: optim.groups({}), r"groups: a mapping of patterns to optimizers is required, got \{\}"),
        (
            lambda: optim.groups(["a"]),
            r"groups: .*mapping.*, got \['a'\]",
        ),
        (lambda: optim.groups({3: optim.sgd()}), r"groups: a pattern must be a glob, .* got 3"),
        (lambda: optim.groups({"a**": optim.sgd()}), r'pattern "a\*\*": \*\* must be a whole segment'),
        (lambda: optim.masked(optim.sgd(), ["a"]), r"masked: a pattern must be a glob, .* got \['a'\]"),
        (lambda: optim.no_decay(["a"]), r"no_decay: a pattern must be a glob, .* got \['a'\]"),
        (lambda: optim.layerwise(optim.sgd(), 0.1, ["a"]), r"layerwise: optimizer must be a function, got"),
        (lambda: optim.layerwise(optim.sgd, 0.1, "ab"), r"layerwise: layers must be a sequence.*, got 'ab'"),
        (
            lambda: optim.layerwise(optim.sgd, 0.1, ["a", "a"]),
            r"layerwise: layers must be a sequence of different patterns, got \['a', 'a'\]",
        ),
        (lambda: optim.layerwise(optim.sgd, 0.1, [1]), r"layerwise: a pattern must be a glob, .* got 1"),
        (
            lambda: optim.groups({}, default=optim.sgd()).init({"a": {"f": jnp.tanh}}),
            r'groups: "a/f" is no array but .*: keep it out of the parameters',
        ),
        (
            lambda: optim.chain(optim.sgd()).init({"f": jnp.tanh}),
            r'chain: "f" is no array but .*: keep it out of the parameters',
        ),
        (
            lambda: optim.masked(optim.sgd(), mask={"z": True}).init(PARAMS),
            r"masked: the mask does not fit the parameters:\n  encoder/dense/bias: no mark",
        ),
        (
            lambda: optim.skip_nonfinite(optim.sgd()).update(PARAMS, (), PARAMS),
            r"skip_nonfinite: this state belongs to another optimizer: SkipState is required, got tuple",
        ),
        (
            lambda: optim.chain(optim.sgd()).update(
                {"a": 1.0}, optim.chain(optim.sgd()).init(PARAMS), PARAMS
            ),
            r"chain: the gradients \(first\) do not fit the parameters \(second\):\n  a: only in the first",
        ),
        (lambda: optim.groups({"a": "adam"}), r"groups: an optimizer .* is required, got 'adam'"),
        (lambda: optim.groups({"a": optim.sgd()}, defualt=optim.sgd()), r'unknown option "defualt"'),
        (lambda: optim.layerwise(optim.sgd, 0.1, ["a"], decay=0), r"layerwise: decay must be above 0, got 0"),
        (
            lambda: optim.layerwise(optim.sgd, 0.1, ["a"], decay=1.5),
            r"layerwise: decay must be in \[0, 1\), got",
        ),
    ],
)
def test_options(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_state_of_other_groups():
    optimizer = optim.groups({"**/bias": optim.sgd()}, default=optim.adam())
    state = optim.groups({"**/kernel": optim.sgd()}, default=optim.adam()).init(PARAMS)
    with pytest.raises(ValueError, match=r"a state of the groups .*bias.* is required, got .*kernel"):
        optimizer.update(PARAMS, state, PARAMS)
    with pytest.raises(ValueError, match=r"groups: a state of the groups .* is required, got dict"):
        optimizer.update(PARAMS, {}, PARAMS)
