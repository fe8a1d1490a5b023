"""Groups by path: which optimizer takes which leaf, what is kept for it, what is refused."""

import re

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
PATHS = list(trees.flatten(PARAMS))


def labels(optimizer):
    """The group of each leaf, from the table."""
    rows = [re.split(r"  +", line) for line in optim.describe(optimizer, PARAMS).splitlines()[1:]]
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


def test_each_group_does_what_its_optimizer_does_alone():
    optimizer = optim.groups({"encoder/**": optax.adam(0.1)}, default=optim.adamw(0.2, weight_decay=0.5))
    parts = {"encoder": optax.adam(0.1), "head": optax.adamw(0.2, weight_decay=0.5, eps_root=1e-15)}
    state = optimizer.init(PARAMS)
    alone = {name: part.init(PARAMS[name]) for name, part in parts.items()}
    for step in range(3):
        gradients = jax.tree.map(lambda leaf, step=step: leaf * (step + 1.0), PARAMS)
        updates, state = optimizer.update(gradients, state, PARAMS)
        for name, part in parts.items():
            expected, alone[name] = part.update(gradients[name], alone[name], PARAMS[name])
            jax.tree.map(
                lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5), updates[name], expected
            )


def test_frozen_keeps_nothing():
    moments = trees.nbytes(optim.adam().init(PARAMS["head"]))
    frozen = optim.groups({"encoder/**": optim.frozen()}, default=optim.adam())
    assert trees.nbytes(frozen.init(PARAMS)) == moments
    assert trees.nbytes(optim.frozen().init(PARAMS)) == 0


def test_layout_and_structure_stay():
    optimizer = optim.groups({"**/bias": optim.sgd(0.1, momentum=0.9)}, default=optim.adam())
    state = optimizer.init(PARAMS)
    updates, following = jax.jit(optimizer.update)(PARAMS, state, PARAMS)
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


def test_setting_never_recompiles():
    optimizer = optim.groups({"**/bias": optim.sgd(0.1)}, default=optim.adam(0.2))
    traces = []

    @jax.jit
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


def test_groups_inside_a_chain_and_groups_inside_groups():
    inner = optim.groups({"**/kernel": optim.sgd(1.0)}, default=optim.sgd(2.0))
    outer = optim.chain(optim.clip(0.5), optim.groups({"head/**": inner}, default=optim.frozen()))
    updates, _ = outer.update(PARAMS, outer.init(PARAMS), PARAMS)
    assert [float(leaf.ravel()[0]) for leaf in jax.tree.leaves(updates)] == [0.0, 0.0, -1.0, -0.5]


def test_averages_of_a_group_are_evaluated():
    averaged = optim.chain(optim.sgd(1.0), optim.ema(0.75))
    optimizer = optim.groups({"head/**": averaged}, default=optim.sgd(1.0))
    updates, state = optimizer.update(PARAMS, optimizer.init(PARAMS), PARAMS)
    best = optim.evaluation_params(state, optim.apply_updates(PARAMS, updates))
    assert [float(leaf.ravel()[0]) for leaf in jax.tree.leaves(best)] == [0.0, 0.0, 0.75, 0.75]


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
            r"groups: a mapping of patterns to optimizers is required, got \['a'\]",
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


def test_the_table():
    decaying = optim.adamw(optim.linear_decay(0.5), weight_decay=0.1, mask=optim.no_decay("head/**"))
    table = optim.describe(optim.groups({"encoder/**/bias": optax.sgd(0.1)}, default=decaying), PARAMS)
    assert table.splitlines() == [
        "Parameter             Shape   Group            Learning rate  Decay",
        "encoder/dense/bias    (3,)    encoder/**/bias  -              -",
        "encoder/dense/kernel  (2, 3)  default          0.5            0.1",
        "head/bias             (1,)    default          0.5            0",
        "head/kernel           (3, 1)  default          0.5            0",
    ]
    abstract = jax.eval_shape(lambda: PARAMS)
    assert optim.describe(optim.sgd(0.1), abstract).count("default") == 4


def test_no_decay_spares_biases_norms_and_embeddings():
    shapes = {
        "dense": {"kernel": (2, 2), "bias": (2,)},
        "layer_norm_0": {"scale": (2, 2)},
        "embedding_0": {"kernel": (5, 2)},
    }
    params = jax.tree.map(jnp.ones, shapes, is_leaf=lambda leaf: isinstance(leaf, tuple))
    decays = [path for path, keep in trees.flatten(optim.no_decay()(params)).items() if keep]
    assert decays == ["dense/kernel"]
    assert optim.no_decay("a") == optim.no_decay("a")


def test_layerwise_rates_follow_schedules():
    rules = optim.layerwise(optim.sgd, lambda step: 1.0 / (1 + step), ["encoder/**", "head/**"], decay=0.5)
    optimizer = optim.groups(rules)
    state = optimizer.init(PARAMS)
    for expected in ([0.5, 1.0], [0.25, 0.5]):
        updates, state = optimizer.update(PARAMS, state, PARAMS)
        moved = [-updates["encoder"]["dense"]["bias"][0], -updates["head"]["bias"][0]]
        np.testing.assert_allclose(moved, expected, rtol=1e-6)
