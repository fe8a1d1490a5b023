"""What is trained, on what, from which first weights: NumPy alone, the same for every peer."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

Weights = Mapping[str, np.ndarray]
UNITS, DEPTH, HEADS, LENGTH = 128, 6, 4, 64  # of the GPT
EMBEDDED, RECURRENT = 64, 256  # of the LSTM
WIDTH, STAGES = 16, 3  # of the ResNet
BATCH_NORM = {"momentum": 0.9, "eps": 1e-5}
TEST_ROWS = 2000


@dataclass(frozen=True, kw_only=True)
class Job:
    """Arrays to train and to test on, the weights to begin with, and the rate of Adam.

    ``x`` are float32 images ``(N, ...)`` or int32 tokens ``(N, T)``, ``y`` int32 classes ``(N,)`` or
    ``(N, T)``.
    """

    name: str
    batch_size: int
    rate: float
    classes: int
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    weights: Weights

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return len(self.x) // self.batch_size

    def batches(self, order: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """An epoch in a new order, for peers without a data source of their own."""
        index = order.permutation(len(self.x))
        for start in range(0, len(index), self.batch_size):
            rows = index[start : start + self.batch_size]
            yield self.x.take(rows, axis=0), self.y.take(rows, axis=0)


def load(name: str, batch_size: int, steps: int, folder: pathlib.Path) -> Job:
    """A job with epochs of at most so many steps, on data in a folder or that scikit-learn brings."""
    classes, parts = READERS[name](folder)
    rows = min(steps, len(parts[0]) // batch_size) * batch_size
    x, y, x_test, y_test = parts
    return Job(
        name=name,
        batch_size=batch_size,
        rate=1e-3,
        classes=classes,
        x=x[:rows],
        y=y[:rows],
        x_test=x_test[:TEST_ROWS],
        y_test=y_test[:TEST_ROWS],
        weights=dict(drawn(SHAPES[name](classes))),
    )


def read_flat(folder: pathlib.Path) -> tuple[int, list[np.ndarray]]:
    """MNIST as rows of 784."""
    classes, (x, y, x_test, y_test) = read_mnist(folder)
    return classes, [x.reshape(-1, 784), y, x_test.reshape(-1, 784), y_test]


def read_mnist(folder: pathlib.Path) -> tuple[int, list[np.ndarray]]:
    """MNIST as images ``(28, 28, 1)``."""
    with np.load(folder / "mnist.npz") as data:
        x, y, x_test, y_test = (data[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    images = ((each[..., None] / 255).astype(np.float32) for each in (x, x_test))
    return 10, [next(images), y.astype(np.int32), next(images), y_test.astype(np.int32)]


def read_digits(folder: pathlib.Path) -> tuple[int, list[np.ndarray]]:
    """The 8 by 8 digits of scikit-learn, the last fifth of them to test on."""
    from sklearn.datasets import load_digits

    bundled = load_digits()
    x, y = (bundled.images[..., None] / 16).astype(np.float32), bundled.target.astype(np.int32)
    cut = len(x) * 4 // 5
    return 10, [x[:cut], y[:cut], x[cut:], y[cut:]]


def read_text(folder: pathlib.Path) -> tuple[int, list[np.ndarray]]:
    """Shakespeare's characters in stretches, each with the same one later as its targets; a tenth to test."""
    text = (folder / "tinyshakespeare.txt").read_text()
    letters = sorted(set(text))
    numbers = {letter: number for number, letter in enumerate(letters)}
    tokens = np.array([numbers[letter] for letter in text], np.int32)
    count = (len(tokens) - 1) // LENGTH
    x, y = (tokens[at : at + count * LENGTH].reshape(count, LENGTH) for at in (0, 1))
    cut = count * 9 // 10
    return len(letters), [x[:cut], y[:cut], x[cut : cut + 64], y[cut : cut + 64]]


def dense(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a dense layer."""
    return {f"{name}/kernel": (inputs, outputs), f"{name}/bias": (outputs,)}


def norm(name: str, units: int, *before: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a normalization."""
    return {f"{name}/scale": (*before, units), f"{name}/offset": (*before, units)}


def mlp_shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """784-128-relu-10."""
    return dense("dense_0", 784, 128) | dense("dense_1", 128, classes)


def cnn_shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """Two convolutions of 3 by 3, each with max pooling, and a dense layer."""
    return {
        "conv_0/kernel": (3, 3, 1, 32),
        "conv_0/bias": (32,),
        "conv_1/kernel": (3, 3, 32, 64),
        "conv_1/bias": (64,),
        **dense("dense_0", 1600, classes),
    }


def lstm_shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """Characters embedded, an LSTM with the gates i, f, g, o, a dense layer."""
    return {
        "embedding_0/kernel": (classes, EMBEDDED),
        "lstm_0/kernel": (EMBEDDED, 4 * RECURRENT),
        "lstm_0/recurrent_kernel": (RECURRENT, 4 * RECURRENT),
        "lstm_0/bias": (4 * RECURRENT,),
        **dense("dense_0", RECURRENT, classes),
    }


def gpt_shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """Blocks as in GPT-2, stacked on the first axis; learned positions."""
    within = UNITS // HEADS
    block: dict[str, tuple[int, ...]] = {}
    for part in ("query", "key", "value"):
        block[f"attention/{part}/kernel"] = (DEPTH, UNITS, HEADS, within)
        block[f"attention/{part}/bias"] = (DEPTH, HEADS, within)
    block["attention/output/kernel"] = (DEPTH, HEADS, within, UNITS)
    block["attention/output/bias"] = (DEPTH, UNITS)
    block |= norm("attention_norm", UNITS, DEPTH) | norm("dense_norm", UNITS, DEPTH)
    for part, (rows, columns) in {"dense_0": (UNITS, 4 * UNITS), "dense_1": (4 * UNITS, UNITS)}.items():
        block[f"{part}/kernel"], block[f"{part}/bias"] = (DEPTH, rows, columns), (DEPTH, columns)
    return {
        "embedding_0/kernel": (classes, UNITS),
        "position_embedding_0/kernel": (LENGTH, UNITS),
        **{f"block/{name}": shape for name, shape in block.items()},
        **norm("layer_norm_0", UNITS),
        **dense("dense_0", UNITS, classes),
    }


def resnet_shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """A stem and a residual block a stage, each with twice the filters; no biases before the norms."""
    shapes = {"stem/kernel": (3, 3, 1, WIDTH), **norm("stem_norm", WIDTH)}
    before = WIDTH
    for stage in range(STAGES):
        filters = WIDTH * 2**stage
        for part, inputs in (("a", before), ("b", filters)):
            shapes[f"block{stage}_{part}/kernel"] = (3, 3, inputs, filters)
            shapes |= norm(f"block{stage}_{part}_norm", filters)
        if stage:
            shapes[f"block{stage}_beside/kernel"] = (1, 1, before, filters)
        before = filters
    return {**shapes, **dense("dense_0", before, classes)}


def drawn(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, np.ndarray]]:
    """Glorot's uniform draws for kernels, small normal ones for embeddings, ones for scales, else zeros."""
    rng = np.random.default_rng(0)
    for name, shape in shapes.items():
        if "embedding" in name:
            yield name, rng.normal(0, 0.02, shape).astype(np.float32)
        elif name.endswith("kernel"):
            limit = math.sqrt(6 / sum(fans(name, shape)))
            yield name, rng.uniform(-limit, limit, shape).astype(np.float32)
        else:
            yield name, np.full(shape, name.endswith("scale"), np.float32)


def fans(name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """How many numbers one of a layer is made of, and goes into."""
    if name.startswith("block/"):
        shape = shape[1:]
    if "attention" in name:
        return UNITS, UNITS
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


READERS = {
    "mlp": read_flat,
    "cnn": read_mnist,
    "lstm": read_text,
    "gpt": read_text,
    "resnet": read_digits,
}
SHAPES = {
    "mlp": mlp_shapes,
    "cnn": cnn_shapes,
    "lstm": lstm_shapes,
    "gpt": gpt_shapes,
    "resnet": resnet_shapes,
}
