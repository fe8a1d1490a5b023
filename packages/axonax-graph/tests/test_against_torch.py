"""Whole layers beside torch's: outputs in both modes, gradients, and buffers after steps of training.

What torch gives is committed: ``tools/write_torch_layers.py``, whose table has the same names, writes it and
says what a case holds. To add one, add a row to a table in ``tools/torch_layers`` and one to `CASES` here: a
function of the inputs, those by name as keywords, to a node or a tuple of nodes, whose leaves have the paths
of the case below the first segment.
"""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from axonax import graph as nn
from axonax.tensor import trees

FIXTURE = Path(__file__).parent / "fixtures" / "torch_layers.npz"
RATE, TOLERANCE, ZERO = 0.1, 1e-5, 1e-12

CASES = {
    "dense": nn.dense(4),
    "dense no bias": nn.dense(4, use_bias=False),
    "bilinear": nn.bilinear(4),
    "embedding": nn.embedding(6, 4),
    "conv 1d": nn.conv(6, 3),
    "conv 3d": nn.conv(3, 2),
    "conv strides": nn.conv(6, 3, strides=(2, 1), padding=1),
    "conv same": nn.conv(6, (3, 2), kernel_dilation=2, padding="same"),
    "conv groups": nn.conv(6, (2, 3), groups=2, use_bias=False),
    "conv_transpose": nn.conv_transpose(6, 3, strides=2),
    "conv_transpose groups": nn.conv_transpose(6, (3, 2), strides=(2, 1), kernel_dilation=2, groups=2),
    "depthwise_conv": nn.depthwise_conv(2, (3, 2)),
    "separable_conv2d": nn.separable_conv2d(2, (3, 2)),
    "separable_conv3d": nn.separable_conv3d(2, (2, 3, 2)),
    "batch_norm": nn.batch_norm(momentum=0.8),
    "batch_norm plain": nn.batch_norm(momentum=0.8, use_scale=False, use_offset=False),
    "instance_norm": nn.instance_norm(),
    "instance_norm running": nn.instance_norm(running=True, momentum=0.8),
    "layer_norm": nn.layer_norm(),
    "layer_norm axes": nn.layer_norm(axis=(1, 2)),
    "rms_norm": nn.rms_norm(),
    "group_norm": nn.group_norm(2),
    "local_response_norm": nn.local_response_norm(3, alpha=0.5),
    "weight_norm": nn.weight_norm(nn.dense(4)),
    "spectral_norm": nn.spectral_norm(nn.dense(4)),
    "rnn": nn.rnn(4, return_state=True),
    "gru": nn.gru(4, return_state=True),
    "lstm": nn.lstm(4, return_state=True),
    "bidirectional": nn.bidirectional(nn.lstm(4)),
    "attention": nn.multi_head_attention(2),
    "attention causal": nn.multi_head_attention(2, causal=True),
    "attention masked": nn.multi_head_attention(2),
    "attention across": nn.multi_head_attention(2),
    "transformer_encoder": nn.transformer_encoder(6, 2, hidden=8, activation="gelu"),
    "transformer_encoder post": nn.transformer_encoder(6, 2, hidden=8, activation="relu", pre_norm=False),
    "transformer_decoder": nn.transformer_decoder(6, 2, hidden=8, activation="gelu"),
    "transformer_decoder post": nn.transformer_decoder(6, 2, hidden=8, activation="relu", pre_norm=False),
}


@functools.cache
def committed():
    """The arrays by case and by what they are, then by name."""
    found = {}
    with np.load(FIXTURE) as held:
        for path, array in held.items():
            case, what, name = path.split("|")
            found.setdefault(case, {}).setdefault(what, {})[name] = array
    return found


def model_of(case):
    """The model of a case, and its state before the first step."""
    held = committed()[case]
    inputs = {
        name: nn.input(f"in_{name}", array.shape[1:], dtype=array.dtype) for name, array in held["in"].items()
    }
    named = {name: node for name, node in inputs.items() if not name.isdigit()}
    result = CASES[case](*(node for name, node in inputs.items() if name.isdigit()), **named)
    model = result if isinstance(result, nn.Node) else nn.container(result)
    state = jax.eval_shape(nn.build(model).init, jax.random.key(0))
    shapes = {
        path: leaf.shape
        for part in (state.params, state.buffers)
        for path, leaf in trees.flatten(part).items()
    }
    first = {path.partition("/")[0] for path in shapes}
    start = {f"{layer}/{name}": array for name, array in held.get("start", {}).items() for layer in first}
    assert shapes == {path: array.shape for path, array in start.items()}, case
    return model, nn.build(model).init(jax.random.key(0), initial=trees.unflatten(start))


def learned(model, state, inputs):
    """What the fixture holds of a case, after a step of training for each item of the inputs."""
    apply = nn.build(model).apply

    def loss(params, floats, whole, state):
        outputs, buffers = apply(state.replace(params=params), {**floats, **whole}, train=True)
        products = jax.tree.map(lambda leaf: jnp.sum(leaf * cotangent(leaf.shape)), outputs)
        return sum(jax.tree.leaves(products)), (outputs, buffers)

    def step(state, given):
        floats = {name: each for name, each in given.items() if jnp.issubdtype(each.dtype, jnp.floating)}
        whole = {name: each for name, each in given.items() if name not in floats}
        (slopes, slopes_in), (outputs, buffers) = jax.grad(loss, (0, 1), has_aux=True)(
            state.params, floats, whole, state
        )
        params = jax.tree.map(lambda leaf, slope: leaf - RATE * slope, state.params, slopes)
        return state.replace(params=params, buffers=buffers), (outputs, slopes, slopes_in)

    state, steps = jax.lax.scan(step, state, inputs)
    train, grad, grad_in = jax.tree.map(lambda leaf: leaf[-1], steps)
    infer, _ = apply(state, {name: each[-1] for name, each in inputs.items()})
    return {"train": train, "infer": infer, "grad": grad, "grad_in": grad_in, "buffer": state.buffers}


def cotangent(shape):
    return np.cos(np.arange(np.prod(shape))).reshape(shape).astype("float32")


@pytest.fixture(scope="module")
def all_learned(quick):
    """Every case in one program."""
    made = {case: model_of(case) for case in CASES}
    states = {case: state for case, (_, state) in made.items()}
    inputs = {
        case: {f"in_{name}": array for name, array in committed()[case]["in"].items()} for case in CASES
    }

    def program(states, inputs):
        return {case: learned(made[case][0], states[case], inputs[case]) for case in CASES}

    return jax.device_get(quick(program)(states, inputs))


def by_name(what, tree):
    """The leaves by the names that the fixture has for them."""
    if what in ("train", "infer"):
        return {str(place): leaf for place, leaf in enumerate(jax.tree.leaves(tree))}
    cut = "in_" if what == "grad_in" else "/"
    return {path.partition(cut)[2]: leaf for path, leaf in trees.flatten(tree).items()}


@pytest.mark.parametrize("what", ["train", "infer", "grad", "grad_in", "buffer"])
@pytest.mark.parametrize("case", CASES)
def test_layers_compute_and_learn_what_torch_does(case, what, all_learned):
    found, expected = by_name(what, all_learned[case][what]), committed()[case].get(what, {})
    assert found.keys() == expected.keys()
    whole = max((np.abs(array).max() for array in expected.values()), default=0)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        # The slope of a key's bias is zero, as a softmax does not see it: rounding goes by the other slopes.
        scale = np.abs(array).max() if np.abs(array).max() > ZERO else whole
        np.testing.assert_allclose(found[name], array, TOLERANCE, TOLERANCE * scale, err_msg=name)


def test_every_case_of_torch_is_in_the_table():
    assert CASES.keys() == committed().keys()
