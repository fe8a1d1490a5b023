"""Every public transformation where Optax's own go: shapes alone, maps over states, injected numbers."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import optim

sys.path.insert(0, str(Path(__file__).parent))

from transformations import CASES, FURTHER, MAKERS, PARAMS, make, options, step

SHAPES = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), PARAMS)
SPECS = {"kernel": "K", "bias": "B"}


@pytest.mark.parametrize("case", sorted({*CASES} - {"stateful"}))
def test_a_state_is_made_of_shapes_alone(case):
    """As it is made of zeros; what a user's own function makes of shapes is his."""
    transformation = make(case)
    expected = transformation.init(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), SHAPES))
    got = transformation.init(SHAPES)
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for one, two in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert isinstance(one, jax.Array)
        assert (one.shape, one.dtype) == (two.shape, two.dtype)
        assert bool(jnp.all(one == two))


@pytest.mark.parametrize("case", CASES)
def test_a_map_over_the_copies_of_parameters_in_a_state(case):
    transformation = make(case)
    state = transformation.init(PARAMS)
    doubled = optax.tree.map_params(transformation, lambda leaf: 2 * leaf, state)
    assert jax.tree.structure(doubled) == jax.tree.structure(state)
    placed = optax.tree_utils.tree_map_params(
        transformation,
        lambda leaf, spec: leaf if isinstance(leaf, optax.MaskedNode) else spec,
        state,
        SPECS,
        transform_non_params=lambda _: None,
        is_leaf=lambda node: isinstance(node, optax.MaskedNode),
    )
    # Each moment of a parameter has the spec of that parameter, and nothing else has one.
    found = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(placed)}
    assert {*found.values()} <= {"K", "B"}
    assert all(SPECS[path.split("'")[-2]] == spec for path, spec in found.items())
    moments = [
        jax.tree_util.keystr(path)
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
        if jax.tree_util.keystr(path[-1:]).strip("[']") in SPECS and "numbers" not in str(path)
    ]
    assert {*moments} == {*found}


def structural(case):
    """The options of a case that shape its program."""
    annotations = {key: str(each.annotation) for key, each in MAKERS[case].items()}
    return [
        key for key, kind in annotations.items() if kind == "int" or "Callable" in kind or kind == "Schedule"
    ]


INJECTED = [case for case in MAKERS if case not in ("chain", "compose", "masked", "stateful", "stateless")]


@pytest.mark.parametrize("case", INJECTED)
def test_numbers_that_optax_injects(case):
    """Without a word where all options are numbers; else with those that are not as static arguments."""
    made = optax.inject_hyperparams(getattr(optim, case), static_args=structural(case))(**options(case))
    state, plain = made.init(PARAMS), make(case)
    got, _ = step(made, PARAMS, state)
    expected, _ = step(plain, PARAMS, plain.init(PARAMS))
    for one, two in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
    jax.eval_shape(lambda state: step(made, PARAMS, state), state)


def test_a_key_is_injected_as_a_number():
    made = optax.inject_hyperparams(optim.noisy_sgd)(learning_rate=0.1, key=0)
    updates, _ = jax.jit(made.update)(PARAMS, made.init(PARAMS), PARAMS)
    alone = optim.noisy_sgd(0.1, key=0)
    expected, _ = alone.update(PARAMS, alone.init(PARAMS), PARAMS)
    jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-6), updates, expected)


def test_what_shapes_a_program_is_no_injected_number():
    made = optax.inject_hyperparams(optim.lbfgs)(line_search=False)
    state = made.init(PARAMS)
    with pytest.raises(
        ValueError, match=r"lbfgs: memory_size must .* known before .*static_args=\"memory_size\""
    ):
        jax.eval_shape(lambda state: made.update(PARAMS, state, PARAMS), state)


def test_a_chain_holds_what_changes_its_state():
    """Optax's monitor measures nothing at first: its state has another structure after the first step."""

    def both(library):
        measures = {"size": optax.tree.norm, "mean": optax.measure_with_ema(optax.tree.norm, decay=0.5)}
        chained = library.chain(optax.monitor(measures), optax.sgd(0.1))
        state = chained.init(PARAMS)
        for _ in range(2):
            _, state = jax.jit(chained.update)(PARAMS, state, PARAMS)
        return optax.tree.get(state, "size"), optax.tree.get(state, "mean")

    np.testing.assert_allclose(both(optim), both(optax), rtol=1e-6)


def spy(seen):
    """A transformation of someone else that notes the dtypes that it sees."""

    def note(name, tree):
        seen.setdefault(name, set()).update(leaf.dtype.name for leaf in jax.tree.leaves(tree))

    def init(params):
        note("init", params)
        return optax.EmptyState()

    def update(updates, state, params=None, *, grad=None, **extra):
        for name, tree in (("updates", updates), ("params", params), ("grad", grad)):
            note(name, tree)
        return updates, state

    return optax.GradientTransformationExtraArgs(init, update)


WRAPPED = {
    "accumulate": lambda inner: optim.accumulate(inner, 2),
    "deep": lambda inner: optim.accumulate(optim.skip_nonfinite(optim.groups({"**": inner})), 2),
    "chain": lambda inner: optim.chain(optim.identity(), inner),
    "masked": lambda inner: optim.masked(inner, "**"),
}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("name", WRAPPED)
def test_what_is_wrapped_sees_the_dtypes_that_it_was_made_for(name, dtype):
    seen, params = {}, jax.tree.map(lambda leaf: leaf.astype(dtype), PARAMS)
    made = WRAPPED[name](spy(seen))
    state = made.init(params)
    sums = [leaf.dtype for leaf in jax.tree.leaves(state) if leaf.shape]
    assert {*sums} <= {jnp.dtype("float32")}
    updates, _ = made.update(params, state, params, grad=params)
    assert seen["updates"] == seen["params"] == seen["grad"] == seen["init"]
    assert seen["init"] == {"float32" if name == "chain" else dtype}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(updates)} == {dtype}
    if name == "accumulate":
        made.update(params, state)
        assert seen["updates"] == {dtype}


def test_half_precision_reaches_optax_in_accumulate_as_in_multi_steps():
    params = jax.tree.map(lambda leaf: leaf.astype("bfloat16"), PARAMS)

    def run(made):
        state, moved = made.init(params), params
        for number in range(4):
            gradients = jax.tree.map(lambda leaf, number=number: leaf * (1 + number), params)
            updates, state = made.update(gradients, state, moved)
            moved = optax.apply_updates(moved, updates)
        return moved

    inner = optax.contrib.mechanize(optax.adam(1.0))
    multi = optax.MultiSteps(inner, 2).gradient_transformation()
    for one, two in zip(*map(jax.tree.leaves, map(run, (optim.accumulate(inner, 2), multi))), strict=True):
        assert one.dtype == jnp.bfloat16
        np.testing.assert_allclose(one.astype("float32"), two.astype("float32"), rtol=0.02)


def test_the_table_has_every_factory():
    assert {case.split()[0] for case in FURTHER} <= {*MAKERS}
    assert len(MAKERS) > 60
