"""A block many times over is as many blocks in a row; a part under remat is the part."""

import pickle
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax.graph.data._layer import order
from axonax.graph.data._swap import remade, swapped
from axonax.tensor import trees
from axonax.tensor.precision import Policy

pytestmark = pytest.mark.smoke

DEPTH = 4
X = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")


def x(shape=(None, 3)):
    return nn.input("x", shape)


def residual(x):
    """A block with running statistics."""
    return x + (x | nn.dense(3, activation="tanh") | nn.batch_norm(momentum=0.5))


def unrolled(block=residual, depth=DEPTH):
    model = x()
    for place in range(depth):
        model = model | nn.block(block, name=f"block_{place}")
    return model


BLOCKS = [f"block_{place}" for place in range(DEPTH)]
MARK = f"repeat_0[{DEPTH}]"


def step(model):
    """Output, gradients and new buffers of a training step."""
    apply = nn.build(model).apply

    def loss(params, state, x, key):
        output, buffers = apply(state.replace(params=params), x, train=True, key=key)
        return (output**2).sum(), (output, buffers)

    def run(state, x, key):
        gradients, (output, buffers) = jax.grad(loss, has_aux=True)(state.params, state, x, key)
        return output, state.replace(params=gradients, buffers=buffers)

    return run


@pytest.fixture(scope="module")
def expected():
    model = unrolled()
    state = nn.build(model).init(jax.random.key(0))
    return state, jax.jit(step(model))(state, X, jax.random.key(1))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"unroll": 2},
        {"unroll": 3},
        {"unroll": True},
        {"unroll": DEPTH, "remat": True},
        {"remat": True},
        {"remat": "dots_saveable"},
        {"unroll": 2, "remat": "nothing_saveable"},
    ],
)
def test_it_is_as_many_blocks_in_a_row(options, expected):
    state, (output, after) = expected
    model = x() | nn.repeat(residual, DEPTH, **options)
    stacked = nn.stacked_state(state, BLOCKS, into=MARK)
    assert trees.diff(stacked, nn.build(model).init(jax.random.key(0))) == []
    got, news = jax.jit(step(model))(stacked, X, jax.random.key(1))
    np.testing.assert_allclose(got, output, rtol=1e-6, atol=1e-6)
    back = nn.unstacked_state(news, MARK, into=BLOCKS)
    assert trees.diff(back, after) == []
    for path, value in trees.flatten(after).items():
        np.testing.assert_allclose(trees.flatten(back)[path], value, rtol=1e-5, atol=1e-6, err_msg=path)


def test_straight_code_has_no_loop():
    shapes = jax.eval_shape(nn.build(x() | nn.repeat(residual, 3)).init, jax.random.key(0))
    for unroll, loops in ((1, 1), (True, 0), (3, 0), (7, 0)):
        apply = nn.build(x() | nn.repeat(residual, 3, unroll=unroll)).apply
        text = jax.jit(apply).lower(shapes, X).as_text()
        assert text.count("stablehlo.while") == loops, unroll


@pytest.mark.parametrize("remat", [None, True])
def test_however_deep_a_block_is_traced_as_often(remat):
    counts = []
    for depth in (2, 50):
        calls = []

        def counted(x, calls=calls):
            return x | nn.layer(lambda x: calls.append(0) or x * 2)

        built = nn.build(x() | nn.repeat(counted, depth, remat=remat))
        jax.eval_shape(built.apply, built.init(jax.random.key(0)), X)
        counts.append(len(calls))
    assert counts[0] == counts[1]


def test_each_depth_draws_its_own_first_values_with_the_fans_of_one():
    state = nn.build(x((None, 64)) | nn.repeat(nn.dense(64), 8)).init(jax.random.key(0))
    kernel = np.asarray(state.params["repeat_0[8]"]["dense_0"]["kernel"])
    bound = np.sqrt(6 / 128)
    for one in kernel:
        assert 0.98 * bound < np.abs(one).max() <= bound
    assert len({one.tobytes() for one in kernel}) == 8
    longer = nn.build(x((None, 64)) | nn.repeat(nn.dense(64), 3, name="repeat_0")).init(jax.random.key(0))
    assert longer.params["repeat_0[3]"]["dense_0"]["kernel"].shape == (3, 64, 64)


def test_each_depth_drops_others_and_each_key_too():
    def block(x):
        dropped = x["value"] | nn.dropout(0.5)
        return {"value": x["value"], "seen": x["seen"] * 2 + (dropped * 0.5)}

    model = nn.container({"value": x((1, 64)), "seen": x((1, 64)) * 0.0}) | nn.repeat(block, 3)
    with pytest.raises(ValueError, match='two layers are named "x"'):
        nn.build(model)
    given = nn.input("value", (1, 64))
    model = nn.container({"value": given, "seen": given * 0.0}) | nn.repeat(block, 3)
    apply = jax.jit(nn.build(model).apply, static_argnames="train")
    state = nn.build(model).init(jax.random.key(0))
    seen = [
        np.asarray(apply(state, np.ones((1, 64), "float32"), train=True, key=jax.random.key(seed))[0]["seen"])
        for seed in (0, 0, 1)
    ]
    masks = [np.floor(seen[0] / 2**power) % 2 for power in range(3)]
    assert all(16 < mask.sum() < 48 for mask in masks)
    assert len({mask.tobytes() for mask in masks}) == 3
    np.testing.assert_array_equal(seen[0], seen[1])
    assert (seen[0] != seen[2]).any()


def test_further_inputs_are_the_same_for_each():
    layer = nn.repeat(lambda x, scale, unused: x * scale + (scale | nn.dense(3)), 3)
    a, b = x(), nn.input("scale", (None, 3))
    model = layer(a, b, a)
    state = nn.build(model).init(jax.random.key(0))
    kernels = state.params["repeat_0[3]"]["dense_0"]["kernel"]
    value = X
    for kernel in kernels:
        value = value * (X + 1) + (X + 1) @ kernel
    np.testing.assert_allclose(nn.predict(model, state, X, X + 1), value, rtol=1e-5, atol=1e-5)


def test_repeats_nest():
    inner = nn.repeat(nn.dense(3, activation="tanh"), 2)
    model = x() | nn.repeat(lambda x: x | inner | nn.dense(3), 3)
    built = nn.build(model)
    state = built.init(jax.random.key(0))
    leaves = trees.flatten(state.params)
    assert {path: value.shape for path, value in leaves.items() if "kernel" in path} == {
        "repeat_0[3]/dense_0/kernel": (3, 3, 3),
        "repeat_0[3]/repeat_0[2]/dense_0/kernel": (3, 2, 3, 3),
    }
    kernels = np.asarray(leaves["repeat_0[3]/repeat_0[2]/dense_0/kernel"]).reshape(6, 9)
    assert len({one.tobytes() for one in kernels}) == 6
    value = X
    for depth in range(3):
        for kernel in leaves["repeat_0[3]/repeat_0[2]/dense_0/kernel"][depth]:
            value = np.tanh(value @ kernel)
        value = value @ leaves["repeat_0[3]/dense_0/kernel"][depth]
    np.testing.assert_allclose(jax.jit(built.apply)(state, X)[0], value, rtol=1e-5, atol=1e-6)


def test_models_are_mapped_and_compiled_once():
    model = x() | nn.repeat(residual, 3)
    built = nn.build(model)
    run = jax.jit(lambda state, x: built.apply(state, x)[0])
    states = [built.init(jax.random.key(seed)) for seed in range(2)]
    alone = [run(state, X) for state in states]
    assert run._cache_size() == 1
    both = jax.vmap(run, (0, None))(jax.tree.map(lambda *leaves: jnp.stack(leaves), *states), X)
    np.testing.assert_allclose(both, alone, rtol=1e-5, atol=1e-6)


def test_its_record_is_a_model_and_reads_back():
    model = x() | nn.repeat(residual, 3, remat=True, name="trunk")
    layer = model.layer
    assert layer.op == "repeat"
    assert {key: value for key, value in layer.arguments.items() if key != "block"} == {
        "times": 3,
        "unroll": 1,
        "remat": True,
    }
    assert "dense_0 ( dense" in str(layer.arguments["block"])
    assert layer.where.startswith("test_repeat.py:")
    again = x() | nn.repeat(layer.arguments["block"], 3, name="trunk")
    state = nn.build(model).init(jax.random.key(0))
    assert trees.diff(nn.build(again).init(jax.random.key(0)), state) == []
    expected = nn.predict(model, state, X)
    np.testing.assert_array_equal(nn.predict(again, state, X), expected)
    np.testing.assert_array_equal(nn.predict(pickle.loads(pickle.dumps(model)), state, X), expected)
    deeper = x() | remade(layer, times=5)
    assert list(nn.build(deeper).init(jax.random.key(0)).params) == ["trunk[5]"]


@pytest.mark.parametrize(
    ("block", "path"),
    [
        (nn.dense(3), "dense_0"),
        (nn.block(lambda x: x | nn.dense(3), name="part"), "part/dense_0"),
        (x() | nn.dense(3), "dense_0"),
        (lambda x: x | nn.dense(3), "dense_0"),
    ],
)
def test_what_stands_for_a_block(block, path):
    state = nn.build(x() | nn.repeat(block, 2)).init(jax.random.key(0))
    assert sorted(trees.flatten(state.params)) == [
        f"repeat_0[2]/{path}/{name}" for name in ("bias", "kernel")
    ]


def test_within_a_block_paths_begin_with_it_once():
    model = x() | nn.block(lambda x: x | nn.repeat(nn.dense(3), 2) | nn.repeat(residual, 2), name="trunk")
    state = nn.build(model).init(jax.random.key(0))
    found = {path.rpartition("/")[0] for path in trees.flatten(state.params)}
    parts = ["repeat_0[2]/dense_0", "repeat_1[2]/batch_norm_0", "repeat_1[2]/dense_0"]
    assert sorted(found) == [f"trunk/{part}" for part in parts]


def test_ties_within_a_block_hold_at_each_depth():
    def block(x):
        encode = nn.dense(2, use_bias=False)
        return (
            x
            | encode
            | nn.dense(3, use_bias=False, kernel_initializer=nn.tied(encode, transform=jnp.transpose))
        )

    model = x() | nn.repeat(block, 2)
    state = nn.build(model).init(jax.random.key(0))
    assert list(trees.flatten(state.params)) == ["repeat_0[2]/dense_0/kernel"]
    value = X
    for kernel in state.params["repeat_0[2]"]["dense_0"]["kernel"]:
        value = value @ kernel @ kernel.T
    np.testing.assert_allclose(nn.predict(model, state, X), value, rtol=1e-5, atol=1e-6)


def test_patterns_freeze_all_depths_at_once():
    state = nn.build(x() | nn.repeat(residual, 2)).init(jax.random.key(0))
    for pattern in ("repeat_0[2]/dense_0/**", "repeat_0*/dense_0/**"):
        frozen = state.freeze(pattern)
        assert list(trees.flatten(frozen.frozen)) == [
            "repeat_0[2]/dense_0/bias",
            "repeat_0[2]/dense_0/kernel",
        ]


def test_open_shapes_and_unknown_ones_are_found_at_init():
    model = nn.input("x") | nn.repeat(residual, 2)
    assert "repeat_0 ( repeat" in str(model)
    state = nn.build(model).init(jax.random.key(0), (7, 3))
    assert state.params["repeat_0[2]"]["dense_0"]["kernel"].shape == (2, 3, 3)


def test_policies_of_the_block_are_kept():
    layer = nn.dense(3)
    half = Policy(params="bf16", compute="bf16")
    model = x() | nn.repeat(replace(layer, policy=half), 2)
    state = nn.build(model).init(jax.random.key(0))
    assert trees.outline(state.params) == [
        "repeat_0[2]/dense_0/bias bfloat16[2, 3]",
        "repeat_0[2]/dense_0/kernel bfloat16[2, 3, 3]",
    ]
    shapes = jax.make_jaxpr(nn.build(model).apply)(state, X)
    assert "bf16[5,3]" in str(shapes)


def with_policy(model, policy):
    """The model with a policy for each of its layers."""
    layers = {each.layer for each in order(model)}
    return swapped(model, {each: replace(each, policy=policy) for each in layers})


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_a_block_may_be_rewritten_by_itself(dtype):
    policy = Policy(params=dtype, compute=dtype, output=dtype)
    with jax.enable_x64(dtype == "float64"):
        layer = nn.repeat(nn.dense(3, activation="tanh"), 2)
        other = remade(layer, block=with_policy(layer.arguments["block"], policy))
        model = x() | other
        built = nn.build(model)
        state = built.init(jax.random.key(0))
        output = built.apply(state, X)[0]
        value = X.astype(dtype)
        leaves = state.params["repeat_0[2]"]["dense_0"]
        for kernel, bias in zip(leaves["kernel"], leaves["bias"], strict=True):
            value = jnp.tanh(value @ kernel + bias[None])
        assert output.dtype == value.dtype == dtype
        got, expected = (np.asarray(each, "float64") for each in (output, value))
        np.testing.assert_allclose(got, expected, rtol=1e-12 if dtype == "float64" else 1e-2)


class TestRemat:
    def test_it_is_its_block_and_fits_its_states(self):
        def block(x):
            return residual(x) | nn.dropout(0.0) | nn.dense(2)

        plain = x() | nn.block(block, name="part")
        state = nn.build(plain).init(jax.random.key(0))
        output, after = jax.jit(step(plain))(state, X, jax.random.key(1))
        for policy in (None, "dots_saveable"):
            model = x() | nn.remat(block, policy, name="part")
            again = nn.build(model).init(jax.random.key(0))
            jax.tree.map(np.testing.assert_array_equal, again, state)
            got, news = jax.jit(step(model))(state, X, jax.random.key(1))
            np.testing.assert_allclose(got, output, rtol=1e-6, atol=1e-6)
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), news, after)

    def test_it_computes_anew(self):
        counts = {}
        for wrap in (nn.block, nn.remat):
            model = x() | wrap(_waves)
            apply = nn.build(model).apply
            state = nn.build(model).init(jax.random.key(0))
            gradient = jax.value_and_grad(lambda x, apply=apply, state=state: apply(state, x)[0].sum())
            counts[wrap] = jax.jit(gradient).lower(X).as_text().count("stablehlo.tanh")
        assert counts[nn.remat] > counts[nn.block]


def _waves(x):
    return x | nn.tanh() | nn.tanh() | nn.tanh()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.repeat(3, 2), TypeError, "repeat: needs a function of nodes, got 3"),
        (lambda: nn.repeat(residual, 0), ValueError, "repeat: times must be a positive integer, got 0"),
        (lambda: nn.repeat(residual, 2, unroll=0), ValueError, "unroll must be a positive integer, got 0"),
        (lambda: nn.repeat(residual, 2, unrol=2), TypeError, 'unknown option "unrol": did you mean "unroll"'),
        (
            lambda: nn.repeat(residual, 2, remat="dot_saveable"),
            ValueError,
            'unknown remat policy "dot_saveable": did you mean "dots_saveable"',
        ),
        (
            lambda: nn.repeat(residual, 2, remat=3),
            ValueError,
            "remat must be True, the name of a policy or None",
        ),
        (
            lambda: nn.remat(residual, True),
            ValueError,
            "policy must be the name of a policy or None, got True",
        ),
        (
            lambda: nn.repeat(x() + nn.input("y"), 2),
            ValueError,
            "repeat: a model in the place of a function needs one input, it has 2",
        ),
        (
            lambda: _closing_over(x()),
            ValueError,
            r"repeat: its function takes <input node, test_repeat.py:\d+> from outside: make it an input",
        ),
        (
            lambda: x() | (each := nn.dense(3)) | nn.repeat(lambda x: x | each, 2) | nn.dense(1) | nn.build,
            ValueError,
            r"repeat \(test_repeat.py:\d+\): <dense layer, .*> stands within it and outside of it",
        ),
        (
            lambda: nn.build(x() | nn.repeat(nn.dense(4), 2)),
            ValueError,
            r'repeat "repeat_0" \(test_repeat.py:\d+\): its block must give what it takes, \(None, 3\), '
            r"and gives \(None, 4\)",
        ),
        (
            lambda: nn.build(x() | nn.repeat(_integers, 2)),
            ValueError,
            r"its block must give what it takes, float32\[None, 3\], and gives int32\[None, 3\]",
        ),
        (
            lambda: nn.build(x() | nn.repeat(lambda x: x | nn.dense(3) | nn.conv(3, 3), 2)),
            ValueError,
            r'repeat "repeat_0" .*: its block fails: conv "conv_0" \(test_repeat.py:\d+\): needs',
        ),
        (
            lambda: nn.build(x() | nn.repeat(nn.dense(3, kernel_initializer=nn.tied(nn.dense(3))), 2)),
            ValueError,
            r"kernel is tied to <dense layer, .*>, which is not in the model",
        ),
        (
            lambda: nn.build(x() | nn.repeat(nn.dropout(0.5), 2)).apply(
                nn.build(x()).init(jax.random.key(0)), X, train=True
            ),
            ValueError,
            r'repeat "repeat_0" .* draws at random when training: pass key=',
        ),
    ],
)
def test_misuse(make, error, message):
    with pytest.raises(error, match=message):
        make()


def _closing_over(other):
    return nn.repeat(lambda x: x + other, 2)


def _integers(x):
    return x | nn.layer(lambda x: x.astype("int32"))


def test_states_that_do_not_fit_are_refused(expected):
    state = expected[0]
    for names, into, message in (
        (["block_0", "block_9"], "repeat_0[2]", r'stacked_state: no leaf below "block_9": known are'),
        (["block_0"], "repeat_0[2]", r'"repeat_0\[2\]" stands for 2 blocks, got 1'),
        (["block_0"], "repeat_0", r'"repeat_0" has no mark such as \[1\] at its end'),
    ):
        with pytest.raises(ValueError, match=message):
            nn.stacked_state(state, names, into=into)
    with pytest.raises(ValueError, match=r'unstacked_state: no leaf below "repeat_0\[4\]"'):
        nn.unstacked_state(state, MARK, into=BLOCKS)
