"""Rewrites reach the layers of models within layers."""

import jax
import numpy as np

from axonax import graph as nn
from axonax.tensor import trees

KEY = jax.random.key(0)
X = np.linspace(-1, 1, 8, dtype=np.float32).reshape(2, 4)
INNER = "repeat_0[3]/dense_0"


def model():
    deep = nn.repeat(lambda x: x + (x | nn.dense(4, activation="tanh")), 3)
    return nn.input("x", (None, 4)) | deep | nn.dense(2)


MODEL = model()
STATE = nn.build(MODEL).init(KEY)
PREDICTED = nn.predict(MODEL, STATE, X)


def shapes(tree):
    return {path: leaf.shape for path, leaf in trees.flatten(tree).items()}


def test_pinned_models_are_the_same():
    pinned = nn.pin(MODEL)
    assert nn.pin(pinned) is pinned
    assert str(pinned) == str(MODEL)
    assert jax.tree.all(jax.tree.map(np.array_equal, nn.build(pinned).init(KEY), STATE))
    np.testing.assert_array_equal(nn.predict(pinned, STATE, X), PREDICTED)


def test_policies_and_arguments_go_within():
    half, state = nn.with_policy(MODEL, nn.Policy(params="bf16"), only=f"{INNER}", state=STATE)
    assert {path for path, leaf in trees.flatten(state.params).items() if leaf.dtype == "bfloat16"} == {
        f"{INNER}/bias",
        f"{INNER}/kernel",
    }
    assert nn.predict(half, state, X).shape == (2, 2)
    _, state = nn.replace(MODEL, "repeat_0[3]/dense_*", use_bias=False, state=STATE)
    assert shapes(state.params) == {
        "dense_0/bias": (2,),
        "dense_0/kernel": (4, 2),
        f"{INNER}/kernel": (3, 4, 4),
    }


def test_updates_of_low_rank_go_within_and_out():
    made, state = nn.lora(MODEL, INNER, rank=2, state=STATE, key=KEY)
    assert shapes(state.params) == {f"{INNER}/lora_a": (3, 4, 2), f"{INNER}/lora_b": (3, 2, 4)}
    np.testing.assert_array_equal(nn.predict(made, state, X), PREDICTED)
    trained = state.replace(params=jax.tree.map(lambda leaf: leaf + 0.1, state.params))
    np.testing.assert_allclose(
        nn.predict(*nn.merge_lora(made, trained), X), nn.predict(made, trained, X), rtol=1e-4
    )


def test_kernels_are_quantized_by_slice():
    made, state = nn.quantize(MODEL, STATE, only=INNER)
    held = trees.flatten(state.buffers)
    kernel = np.asarray(trees.flatten(STATE.params)[f"{INNER}/kernel"])
    scale = np.asarray(held[f"{INNER}/kernel/scale"])
    assert (np.abs(held[f"{INNER}/kernel/values"] * scale - kernel) <= scale * 0.50001).all()
    np.testing.assert_allclose(nn.predict(made, state, X), PREDICTED, atol=0.05)
