"""Leaves that hold many layers: what works by layer works on each slice as on a leaf of its own."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from axonax import optim
from axonax.optim._slices import by_slice
from axonax.tensor import trees

sys.path.insert(0, str(Path(__file__).parent))

from transformations import CASES as ALL
from transformations import make

MASK = optim.no_decay()
CASES = {
    "adafactor": lambda: optim.adafactor(0.1, min_dim_size_to_factor=2, momentum=0.9, weight_decay=0.1),
    "adafactor fixed": lambda: optim.adafactor(0.1, multiply_by_parameter_scale=False, mask=MASK),
    "adaptive_clip": lambda: optim.adaptive_clip(0.01),
    "centralize": optim.centralize,
    "clip_by_block_rms": lambda: optim.clip_by_block_rms(0.5),
    "fromage": lambda: optim.fromage(0.1),
    "lamb": lambda: optim.lamb(0.1, weight_decay=0.1, mask=MASK),
    "lars": lambda: optim.lars(0.1, weight_decay=0.1, trust_mask=MASK),
    "muon": lambda: optim.muon(0.1, weight_decay=0.1, consistent_rms=0.2, adam_weight_decay=0.1),
    "muon mask": lambda: optim.muon(0.1, weight_decay=0.1, mask=optim.no_decay("**/inner*/**")),
    "novograd": lambda: optim.novograd(0.1, weight_decay=0.1),
    "scale_by_param_block_norm": optim.scale_by_param_block_norm,
    "scale_by_trust_ratio": optim.scale_by_trust_ratio,
    "soap": lambda: optim.soap(0.1, frequency=2, mask=MASK),
}
SIZES = {
    "head/kernel": (3, 4),
    "trunk[2]/first/kernel": (2, 3, 4),
    "trunk[2]/first/bias": (2, 4),
    "trunk[2]/inner[2]/kernel": (2, 2, 3, 4),
    "trunk[2]/inner[2]/temperature": (2, 2),
}
STEPS = 5


def drawn(seed, dtype):
    """Numbers of the sizes of a model, in stacked leaves; layers differ in size by much."""
    rng = np.random.default_rng(seed)
    leaves = {}
    for path, shape in SIZES.items():
        axes = trees.stacked(path)
        size = 4.0 ** rng.integers(-2, 3, shape[:axes] + (1,) * (len(shape) - axes))
        leaves[path] = (rng.normal(size=shape) * size).astype(dtype)
    return trees.unflatten(leaves)


def unrolled(tree):
    """Each slice a leaf of its own, at a path without marks."""
    leaves = {}
    for path, leaf in trees.flatten(tree).items():
        axes = trees.stacked(path)
        plain = path.replace("[2]", "")
        for index in np.ndindex(leaf.shape[:axes]):
            head, _, name = plain.rpartition("/")
            leaves["/".join([head, *map(str, index), name])] = leaf[index]
    return trees.unflatten(leaves)


def run(optimizer, params, gradients):
    """The parameters after some steps."""
    state = optimizer.init(params)

    def step(carry, gradients):
        params, state = carry
        value = sum(jnp.sum(leaf) for leaf in jax.tree.leaves(gradients))
        updates, state = optimizer.update(gradients, state, params, value=value)
        return (optax.apply_updates(params, updates), state), None

    (params, state), _ = jax.lax.scan(step, (params, state), gradients)
    return params


def both(optimizer, dtype):
    """What stacked and unrolled leaves come to, both unrolled."""
    params, rows = drawn(0, dtype), [drawn(seed, dtype) for seed in range(1, STEPS + 1)]
    alone = jax.tree.map(lambda *leaves: np.stack(leaves), *map(unrolled, rows))
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
    return lambda: (
        unrolled(run(optimizer, params, stacked)),
        run(optimizer, unrolled(params), alone),
    )


def compare(optimizer, dtype, quick, tolerance):
    got, expected = (trees.flatten(each) for each in quick(both(optimizer, dtype))())
    assert got.keys() == expected.keys()
    for path, value in expected.items():
        bound = tolerance * np.abs(value).max()
        np.testing.assert_allclose(got[path], value, rtol=tolerance, atol=bound, err_msg=path)


@pytest.mark.parametrize("case", CASES)
def test_stacked_layers_go_as_layers_alone(case, quick):
    with jax.enable_x64(True):
        compare(CASES[case](), "float64", quick, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_stacked_layers_go_as_layers_alone_in_float32(case, quick):
    compare(CASES[case](), "float32", quick, 1e-6)


# What draws at random, needs the objective, or is told of the parameters of the other table.
LEFT_OUT = (
    "add_noise",
    "noisy_sgd",
    "sophia",
    "groups",
    "masked",
    "masked pattern",
    "adamw mask",
    "sam",
    "lbfgs",
)
OTHERS = sorted({*ALL} - {*LEFT_OUT, *CASES})


@pytest.mark.slow
@pytest.mark.parametrize("case", OTHERS)
def test_all_else_goes_by_element_or_by_all_leaves(case, quick):
    with jax.enable_x64(True):
        compare(make(case), "float64", quick, 1e-11)


@pytest.mark.parametrize("case", CASES)
def test_the_program_does_not_grow_with_the_depth(case):
    optimizer, sizes = CASES[case](), []
    for depth in (2, 30):
        params = {f"trunk[{depth}]": {"kernel": np.ones((depth, 3, 4), "float32")}, "bias": np.ones(3)}
        state = jax.eval_shape(optimizer.init, params)
        text = str(jax.make_jaxpr(optimizer.update)(params, state, params))
        sizes.append(text.count("\n"))
        paths = [(path.replace(f"[{depth}]", ""), leaf.dtype) for path, leaf in trees.flatten(state).items()]
        flat = {"trunk": {"kernel": np.ones((3, 4), "float32")}, "bias": np.ones(3)}
        alone = trees.flatten(jax.eval_shape(optimizer.init, flat))
        assert paths == [(path, leaf.dtype) for path, leaf in alone.items()]
    assert sizes[0] == sizes[1]


def test_a_tree_without_marks_goes_through_the_same_program():
    part = optax.scale_by_novograd()
    params = {"kernel": np.ones((3, 4), "float32")}
    state = part.init(params)
    programs = [str(jax.make_jaxpr(each.update)(params, state, params)) for each in (part, by_slice(part))]
    assert programs[0] == programs[1]


@pytest.mark.parametrize("pattern", ["trunk[2]/**", "trunk*/**"])
def test_patterns_and_numbers_go_on_working(pattern, quick):
    params = drawn(0, "float32")
    optimizer = optim.groups({pattern: optim.lamb(0.1), "head/**": optim.frozen()})
    state = optimizer.init(params)
    assert list(optim.hyperparams(state)) == [pattern, "head/**"]
    still = optim.with_hyperparams(state, **{pattern: {"learning_rate": 0.0}})
    update = quick(lambda state: optimizer.update(params, state, params)[0])
    moved, unmoved = (trees.flatten(update(each)) for each in (state, still))
    assert {path for path, leaf in moved.items() if np.any(leaf)} == {
        path for path in SIZES if path.startswith("trunk")
    }
    assert not any(np.any(leaf) for leaf in unmoved.values())


def test_what_does_not_decay_is_told_by_the_axes_of_a_layer():
    decays = trees.flatten(optim.no_decay()(drawn(0, "float32")))
    kernels = ["head/kernel", "trunk[2]/first/kernel", "trunk[2]/inner[2]/kernel"]
    assert [path for path, decay in decays.items() if decay] == kernels


@pytest.mark.parametrize("case", ["adafactor", "muon", "novograd", "soap"])
def test_optax_finds_the_parts_of_a_state_that_are_like_the_parameters(case):
    optimizer, params = CASES[case](), drawn(0, "float32")
    found = []
    for tree in (params, unmarked(params)):
        state = jax.eval_shape(optimizer.init, tree)
        like = optax.tree.map_params(optimizer, lambda _: True, state, transform_non_params=lambda _: False)
        found.append({path.replace("[2]", ""): each for path, each in trees.flatten(like).items()})
    assert found[0] == found[1]
    assert any(found[0].values())


def unmarked(tree):
    """A slice of each leaf, at a path without marks."""
    leaves = trees.flatten(tree).items()
    return trees.unflatten(
        {path.replace("[2]", ""): leaf[(0,) * trees.stacked(path)] for path, leaf in leaves}
    )


def test_a_mark_of_more_axes_than_a_leaf_has():
    message = r'"trunk\[2\]/scale" marks 1 stacked axes, its leaf has shape \(\)'
    with pytest.raises(ValueError, match=message):
        optim.novograd().init({"trunk[2]": {"scale": 1.0}})
