"""Layers stacked by a repeat train as the same layers in a row do, by optimizers that work by layer too."""

import jax
import numpy as np
import pytest

from axonax import graph as nn
from axonax import loop, optim
from axonax.tensor import trees

DEPTH = 3
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 6)).astype("float32")
Y = RANDOM.normal(size=(40, 6)).astype("float32")


def block(x):
    return x + (x | nn.dense(6, activation="tanh") | nn.batch_norm())


def in_a_row():
    x = nn.input("x", (None, 6))
    for place in range(DEPTH):
        x = x | nn.block(block, name=f"block_{place}")
    return x | nn.dense(6)


BY_LAYER = {
    "lamb": optim.lamb(0.05),
    "lars": optim.lars(0.5, trust_coefficient=0.1),
    "muon": optim.muon(0.05),
    "adafactor": optim.adafactor(0.05, min_dim_size_to_factor=4),
    "adaptive_clip": optim.compose(optim.adaptive_clip(0.05), optim.sgd(1.0)),
}


@pytest.mark.parametrize("optimizer", BY_LAYER.values(), ids=BY_LAYER.keys())
def test_depth_changes_no_training(optimizer):
    blocks, mark = [f"block_{place}" for place in range(DEPTH)], f"repeat_0[{DEPTH}]"
    stacked = nn.input("x", (None, 6)) | nn.repeat(block, DEPTH) | nn.dense(6)
    state = nn.build(in_a_row()).init(jax.random.key(0))
    data = loop.arrays(X, Y, batch_size=8)
    ends = []
    for model, start in ((in_a_row(), state), (stacked, nn.stacked_state(state, blocks, into=mark))):
        trainer = loop.trainer(model, "mean_squared_error", optimizer)
        ends.append(trainer.run(data, start).model_state)
    row, back = ends[0], nn.unstacked_state(ends[1], mark, into=blocks)
    assert trees.diff(row, back) == []
    for path, value in trees.flatten(row).items():
        np.testing.assert_allclose(trees.flatten(back)[path], value, rtol=1e-4, atol=1e-5, err_msg=path)
