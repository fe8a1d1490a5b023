"""Rewrites that change parameters: renamed, widened, adapted, pruned, quantized."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax.tensor import trees

KEY = jax.random.key(0)
X = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)


def model():
    encoder = nn.block(lambda x: x | nn.dense(4, activation="tanh") | nn.batch_norm(), name="enc")
    x = nn.input("x", (None, 4)) | encoder | nn.dense(6) | nn.relu() | nn.dropout(0.5)
    return nn.container({"a": x | nn.dense(2, name="head"), "b": x | nn.dense(3, use_bias=False)})


MODEL = model()
STATE = nn.build(MODEL).init(KEY).freeze("enc/dense_0/kernel")
PREDICTED = nn.predict(MODEL, STATE, X)


def equal(one, other):
    return jax.tree.all(jax.tree.map(np.array_equal, one, other))


def close(one, other, tolerance=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), one, other)


@pytest.mark.parametrize(
    ("names", "moved"),
    [
        ({"head": "tail"}, {"head": "tail"}),
        ({"enc": "encoder/first"}, {"enc": "encoder/first"}),
        ({"enc": "e", "enc/dense_0": "d"}, {"enc/dense_0": "d", "enc/batch_norm_0": "e/batch_norm_0"}),
        ({"head": "dense_1", "dense_1": "head"}, {"head": "dense_1", "dense_1": "head"}),
    ],
)
def test_renamed_leaves_are_the_same(names, moved):
    made, state = nn.rename(MODEL, names, state=STATE)
    expected = {}
    for path, leaf in trees.flatten(STATE).items():
        part, _, inner = path.partition("/")
        start = next((old for old in moved if f"{inner}/".startswith(f"{old}/")), None)
        expected[f"{part}/{inner if start is None else moved[start] + inner[len(start) :]}"] = leaf
    found = trees.flatten(state)
    assert sorted(found) == sorted(expected)
    assert all(np.array_equal(found[path], leaf) for path, leaf in expected.items())
    assert equal(nn.predict(made, state, X), PREDICTED)


def test_a_wider_layer_leaves_predictions_alone():
    units = 15
    made, state = nn.widen(MODEL, "dense_0", units, state=STATE, key=jax.random.key(2))
    assert state.params["dense_0"]["kernel"].shape == (4, units)
    assert trees.diff(state, nn.build(made).init(KEY).freeze("enc/dense_0/kernel")) == []
    close(nn.predict(made, state, X), PREDICTED)
    again = nn.widen(MODEL, "dense_0", units, state=STATE, key=jax.random.key(2))[1]
    assert equal(state, again)


def test_updates_of_low_rank_go_in_and_out():
    made, state = nn.lora(MODEL, ["dense_*", "head"], rank=2, alpha=4, state=STATE, key=jax.random.key(1))
    assert equal(nn.predict(made, state, X), PREDICTED)
    updates = [f"{path}/lora_{each}" for path in ("dense_0", "dense_1", "head") for each in "ab"]
    assert sorted(trees.flatten(state.params)) == updates
    assert sorted(trees.flatten(state.frozen)) == sorted(trees.flatten(STATE.variables))

    def loss(params):
        prediction = nn.build(made).apply(state.replace(params=params), X)[0]
        return sum((each**2).sum() for each in jax.tree.leaves(prediction))

    gradient = jax.grad(loss)(state.params)
    trained = state.replace(params=jax.tree.map(lambda p, g: p - 0.1 * g, state.params, gradient))
    merged, merged_state = nn.merge_lora(made, trained)
    tuned = nn.predict(made, trained, X)
    assert not equal(tuned, PREDICTED)
    close(nn.predict(merged, merged_state, X), tuned)
    assert str(merged) == str(MODEL)
    kernel, a, b = (
        np.asarray(trained.variables["head"][name], np.float64) for name in ("kernel", "lora_a", "lora_b")
    )
    np.testing.assert_allclose(merged_state.frozen["head"]["kernel"], kernel + 2 * a @ b, rtol=1e-5)


def test_an_update_of_low_rank_is_a_builder():
    layer = nn.lora_dense(3, rank=2, activation="relu", name="tuned")
    assert (layer.op, layer.arguments["rank"], layer.arguments["alpha"]) == ("lora_dense", 2, None)
    state = nn.build(nn.input("x", (None, 4)) | layer).init(KEY)
    shapes = {path: leaf.shape for path, leaf in trees.flatten(state.params).items()}
    assert shapes == {
        "tuned/bias": (3,),
        "tuned/kernel": (4, 3),
        "tuned/lora_a": (4, 2),
        "tuned/lora_b": (2, 3),
    }


@pytest.mark.parametrize("path", ["dense_0/kernel", "enc/dense_0/kernel"])
def test_pruned_weights_are_the_smallest(path):
    state = nn.prune(STATE, path, fraction=0.5)
    before, after = (trees.flatten(each.variables) for each in (STATE, state))
    kernel = np.asarray(before[path])
    expected = np.where(np.abs(kernel) <= np.median(np.abs(kernel)), 0, kernel)
    np.testing.assert_array_equal(after[path], expected)
    assert all(np.array_equal(before[other], after[other]) for other in before if other != path)
    assert trees.diff(state, STATE) == []


@pytest.mark.parametrize(("bits", "group"), [(8, None), (8, 2), (4, None), (4, 2)])
def test_quantized_kernels_are_off_by_half_a_scale(bits, group):
    made, state = nn.quantize(MODEL, STATE, bits=bits, group=group, only=["dense_*", "enc/*"])
    assert trees.diff(state, nn.build(made).init(KEY)) == []
    rounded = {}
    for path in ("dense_0", "dense_1", "enc/dense_0"):
        held = trees.flatten(state.buffers)
        scale = np.asarray(held[f"{path}/kernel/scale"], np.float64)
        values = np.asarray(held[f"{path}/kernel/values"])
        if bits == 4:
            low, high = (values << 4).astype(np.int8) >> 4, values >> 4
            values = np.stack([low, high], 1).reshape(-1, values.shape[-1])
        kernel = np.asarray(trees.flatten(STATE.variables)[f"{path}/kernel"], np.float64)
        scale = np.repeat(scale, len(kernel) // len(scale), 0)
        assert (np.abs(values * scale - kernel) <= scale * (0.5 + 1e-5)).all()
        rounded[f"{path}/kernel"] = jnp.asarray(values * scale, jnp.float32)
    floats = trees.flatten(STATE.variables) | rounded
    expected = nn.predict(MODEL, STATE.replace(params=trees.unflatten(floats), frozen={}), X)
    close(nn.predict(made, state, X), expected)
    assert trees.nbytes(state.buffers) < trees.nbytes(STATE.variables)


def test_a_quantized_model_trains_what_is_left():
    made, state = nn.quantize(MODEL, STATE)
    prediction, buffers = nn.build(made).apply(state, X, train=True, key=KEY)
    assert equal(buffers["head"], state.buffers["head"])
    gradient = jax.eval_shape(
        jax.grad(lambda params: nn.build(made).apply(state.replace(params=params), X)[0]["a"].sum()),
        state.params,
    )
    assert sorted(trees.flatten(gradient)) == [
        "dense_0/bias",
        "enc/batch_norm_0/offset",
        "enc/batch_norm_0/scale",
        "enc/dense_0/bias",
        "head/bias",
    ]
    assert prediction["a"].shape == (2, 2)


ODD = nn.input("x", (None, 3)) | nn.dense(2)


def tied():
    first = nn.dense(4)
    last = nn.dense(4, kernel_initializer=nn.tied(first), name="last")
    return nn.input("x", (None, 4)) | first | last


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: nn.rename(MODEL, {"haed": "b"}),
            ValueError,
            'rename: the model has no "haed": did you mean "head"',
        ),
        (lambda: nn.rename(MODEL, {"head": "dense_0"}), ValueError, 'two layers are named "dense_0"'),
        (lambda: nn.rename(MODEL, {"head": "a*"}), ValueError, "dense: name must be text without"),
        (
            lambda: nn.widen(MODEL, "relu_0", 8),
            ValueError,
            'widen: pattern "relu_0" selects no dense layer: known are "dense_0", "dense_1"',
        ),
        (
            lambda: nn.widen(MODEL, "dense_0", 6),
            ValueError,
            'units must be more than the 6 of "dense_0", got 6',
        ),
        (
            lambda: nn.widen(MODEL, "enc/dense_0", 8),
            ValueError,
            'widen: only dense layers may follow "enc/dense_0", but <batch_norm node',
        ),
        (
            lambda: nn.widen(MODEL, "head", 8),
            ValueError,
            'widen: only dense layers may follow "head", but <container node',
        ),
        (
            lambda: nn.widen(nn.input("x", (None, 4)) | nn.dense(3, activation="relu"), "dense_0", 8),
            ValueError,
            'widen: the values of "dense_0" are an output of the model',
        ),
        (
            lambda: nn.widen(tied(), "dense_0", 8),
            ValueError,
            'widen: "last" must not share parameters, but <dense layer',
        ),
        (
            lambda: nn.widen(MODEL, "dense_0", 8, state=STATE),
            ValueError,
            "widen: pass key=jax.random.key(...)",
        ),
        (
            lambda: nn.lora(MODEL, "relu_0", rank=1),
            ValueError,
            'lora: pattern "relu_0" selects no dense layer',
        ),
        (lambda: nn.lora(MODEL, rank=0), ValueError, "lora_dense: rank must be a positive integer, got 0"),
        (
            lambda: nn.lora(MODEL, rank=1, state=STATE),
            ValueError,
            "lora: pass key=jax.random.key(...) for 8 new",
        ),
        (
            lambda: nn.merge_lora(MODEL, STATE),
            ValueError,
            'merge_lora: pattern "**" selects no lora_dense layer',
        ),
        (
            lambda: nn.prune(STATE, "kernels", fraction=0.5),
            ValueError,
            'prune: pattern "kernels" selects no parameter',
        ),
        (lambda: nn.prune(STATE, fraction=2), ValueError, "prune: fraction must be in [0, 1], got 2"),
        (
            lambda: nn.prune({}, fraction=1),
            TypeError,
            "prune: state must be the ModelState of init, got dict",
        ),
        (
            lambda: nn.merge_lora(nn.lora(tied(), rank=1), STATE),
            ValueError,
            'merge_lora: "last" must not share parameters',
        ),
        (
            lambda: nn.quantize(ODD, nn.build(ODD).init(KEY), bits=4),
            ValueError,
            'quantize: "dense_0": inputs of 4 bits share a byte, so their number must be even, got 3',
        ),
        (
            lambda: nn.quantize(MODEL, STATE, bits=8, group=4, only="head"),
            ValueError,
            'quantize: "head": group must divide 6 inputs, got 4',
        ),
        (
            lambda: nn.quantize(MODEL, STATE, bits=2),
            ValueError,
            "quantized_dense: bits must be 8 or 4, got 2",
        ),
        (
            lambda: nn.quantize(MODEL, nn.build(tied()).init(KEY)),
            ValueError,
            'quantize: "enc/dense_0": the state has no "enc/dense_0/kernel"',
        ),
        (
            lambda: nn.quantize(tied(), nn.build(tied()).init(KEY), only="dense_0"),
            ValueError,
            'quantize: "dense_0" must not share parameters',
        ),
        (
            lambda: nn.build(nn.input("x", (None, 3)) | nn.quantized_dense(2, bits=4)),
            ValueError,
            "needs a last axis that 2 divides, got (None, 3)",
        ),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=re.escape(text)):
        call()
