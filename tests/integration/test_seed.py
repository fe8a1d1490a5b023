"""The main job: define, print, train with a metric and a handler, evaluate, predict, save, load."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from axonax import graph as nn
from axonax import loop, optim
from axonax.tensor import files


def first_model():
    return nn.input("input", (None, 784)) | nn.dense(128) | nn.dense(10, activation="softmax")


def digits_model():
    return (
        nn.input("image", (None, 64)) | nn.dense(128, activation="relu") | nn.dense(10, activation="softmax")
    )


def test_the_table_shows_the_numbers_of_the_first_model():
    lines = [" ".join(line.split()) for line in str(first_model()).splitlines()]
    rows = [
        "input ( input ) (None, 784) p=f32 c=f32 o=f32 0 0 bytes",
        'dense_0 ( dense["input"] ) (None, 128) p=f32 c=f32 o=f32 100480 401920 bytes',
        'dense_1 ( dense["dense_0"] ) (None, 10) p=f32 c=f32 o=f32 1290 5160 bytes',
        'softmax_0 ( softmax["dense_1"] ) (None, 10) p=f32 c=f32 o=f32 0 0 bytes',
        "Total Parameters: 101770",
        "Total Parameters Memory: 407080 bytes",
        'Inputs: {"input": (None, 784)}',
    ]
    assert [line for line in lines if line in rows] == rows


def test_the_whole_program_on_handwritten_digits(digits, tmp_path, everywhere):
    model = digits_model()
    train_data = loop.arrays(digits.x_train, digits.y_train, batch_size=32, shuffle=True)
    test_data = loop.arrays(digits.x_test, digits.y_test, batch_size=32)
    seen: list[int] = []
    trainer = (
        loop.trainer(model, "categorical_cross_entropy", optim.adamw(0.005))
        .metric("accuracy")
        .validate(test_data)
        .on("iteration_completed", lambda state: seen.append(state.iteration), every=50)
        .progress()
    )
    result = trainer.run(train_data, epochs=4, key=jax.random.key(0))

    assert seen == [50, 100, 150]
    assert [entry["epoch"] for entry in result.history] == [1, 2, 3, 4]
    assert result.history[-1]["loss"] < result.history[0]["loss"] / 4
    scores = loop.evaluator(model).metric("accuracy").run(test_data, result.model_state).metrics
    assert scores["accuracy"] == result.history[-1]["validation_accuracy"]
    assert scores["accuracy"] > 0.88

    probabilities = everywhere(lambda: nn.predict(model, jax.device_get(result.model_state), digits.x_test))
    np.testing.assert_allclose(np.sum(probabilities, -1), 1, rtol=1e-5)
    assert np.mean(np.argmax(probabilities, -1) == digits.y_test) == pytest.approx(
        scores["accuracy"], abs=1e-6
    )

    files.save(tmp_path / "weights.safetensors", result.model_state)
    loaded = files.load(tmp_path / "weights.safetensors", like=result.model_state)
    np.testing.assert_array_equal(nn.predict(model, loaded, digits.x_test), probabilities)


LOADER = """
import sys
import numpy as np
from axonax import graph as nn
from axonax.tensor import files

model = nn.input("image", (None, 64)) | nn.dense(128, activation="relu") | nn.dense(10, activation="softmax")
inputs = np.load(sys.argv[2])
np.save(sys.argv[3], nn.predict(model, files.load(sys.argv[1]), inputs))
"""


def test_weights_saved_in_one_process_load_in_another(digits, tmp_path, precision):
    model = digits_model()
    state = nn.build(model).init(jax.random.key(3), digits.x_test)
    files.save(tmp_path / "weights.safetensors", state)
    np.save(tmp_path / "inputs.npy", digits.x_test)
    names = ["weights.safetensors", "inputs.npy", "outputs.npy"]
    command = [sys.executable, "-c", LOADER, *(str(tmp_path / name) for name in names)]
    subprocess.run(command, check=True, env={**os.environ, **precision})
    np.testing.assert_array_equal(np.load(tmp_path / "outputs.npy"), nn.predict(model, state, digits.x_test))


def test_the_same_key_gives_the_same_run_to_the_bit(digits):
    model = (
        nn.input("image", (None, 64))
        | nn.dense(32, activation="relu")
        | nn.batch_norm()
        | nn.dropout(0.5)
        | nn.dense(10, activation="softmax")
    )
    data = loop.arrays(digits.x_train, digits.y_train, batch_size=64, shuffle=True)

    def train(key):
        return loop.trainer(model, "categorical_cross_entropy", "adamw").run(data, epochs=2, key=key)

    one, two, other = train(jax.random.key(5)), train(jax.random.key(5)), train(jax.random.key(6))
    leaves = [jax.tree.leaves(result.model_state) for result in (one, two, other)]
    assert all(np.array_equal(a, b) for a, b in zip(leaves[0], leaves[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(leaves[0], leaves[2], strict=True))
    assert one.history[0]["loss"] == two.history[0]["loss"]
