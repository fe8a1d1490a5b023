"""Handwritten digits, from the declaration of a model to saved weights and a picture of the learning curves.

python examples/mnist.py                       # scikit-learn's 8x8 digits: runs anywhere, no download
python examples/mnist.py --data mnist.npz      # MNIST: x_train, y_train, x_test, y_test
python examples/mnist.py --data mnist.npz --model cnn --epochs 3
"""

from __future__ import annotations

import argparse
import pathlib
from typing import NamedTuple

import jax
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from axonax import graph as nn
from axonax import loop, optim
from axonax.tensor import files


class Digits(NamedTuple):
    """Images as (N, height, width, 1) float32 in [0, 1] and labels as (N,) int32, to train and to test on."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def read_digits(path: pathlib.Path | None) -> Digits:
    """MNIST from an NPZ file, or scikit-learn's 1797 bundled digits, the last fifth of them to test on."""
    if path is None:
        bundled = load_digits()
        images, labels, highest = bundled.images, bundled.target, 16
        cut = len(images) * 4 // 5
        parts = images[:cut], labels[:cut], images[cut:], labels[cut:]
    else:
        with np.load(path) as data:
            parts = tuple(data[name] for name in ("x_train", "y_train", "x_test", "y_test"))
        highest = 255
    x_train, y_train, x_test, y_test = parts
    return Digits(
        (x_train[..., None] / highest).astype(np.float32),
        y_train.astype(np.int32),
        (x_test[..., None] / highest).astype(np.float32),
        y_test.astype(np.int32),
    )


def mlp(image_shape: tuple[int, ...]) -> nn.Node:
    """784-128-relu-10, for images of 28 by 28."""
    return (
        nn.input("image", (None, *image_shape))
        | nn.flatten()
        | nn.dense(128, activation="relu")
        | nn.dense(10, activation="softmax")
    )


def cnn(image_shape: tuple[int, ...]) -> nn.Node:
    """Two convolutions of 3 by 3, each with max pooling, and a dense layer."""
    return (
        nn.input("image", (None, *image_shape))
        | nn.conv(32, (3, 3), activation="relu")
        | nn.max_pool((2, 2))
        | nn.conv(64, (3, 3), activation="relu")
        | nn.max_pool((2, 2))
        | nn.flatten()
        | nn.dense(10, activation="softmax")
    )


MODELS = {"mlp": (mlp, 0.005), "cnn": (cnn, 0.002)}  # name: (builder, learning rate)


def baseline(digits: Digits, images: int) -> tuple[float, int]:
    """The accuracy of scikit-learn's logistic regression, and how many images it learned from."""
    x_train, x_test = (part.reshape(len(part), -1) for part in (digits.x_train[:images], digits.x_test))
    y_train = digits.y_train[:images]
    regression = LogisticRegression(max_iter=1000).fit(x_train, y_train)
    return float(regression.score(x_test, digits.y_test)), len(x_train)


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=pathlib.Path, help="an NPZ file of MNIST; default: the bundled digits")
    parser.add_argument("--model", choices=MODELS, default="mlp")
    parser.add_argument("--epochs", type=int, help="default: 5, and 30 for the few bundled digits")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--key", type=int, default=0, help="the seed of everything random in the run")
    parser.add_argument(
        "--compare",
        type=int,
        default=10_000,
        help="how many training images scikit-learn's logistic regression learns from",
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/mnist"))
    parser.add_argument("--smoke", action="store_true", help="one epoch on 512 examples, to see that it runs")
    return parser.parse_args()


def main() -> None:
    """Define, print, train, evaluate, predict, save, load."""
    options = arguments()
    loop.cache()  # the second run of this program starts faster
    digits = read_digits(options.data)
    epochs = options.epochs or (5 if options.data else 30)
    if options.smoke:
        digits, epochs = Digits(*(part[:512] for part in digits)), 1

    build, learning_rate = MODELS[options.model]
    model = build(digits.x_train.shape[1:])
    print(model)

    train_data = loop.arrays(digits.x_train, digits.y_train, batch_size=options.batch_size, shuffle=True)
    test_data = loop.arrays(digits.x_test, digits.y_test, batch_size=options.batch_size)
    curves = options.out / "curves.png"
    trainer = (
        loop.trainer(model, "categorical_cross_entropy", optim.adamw(learning_rate))
        .metric("accuracy")
        .validate(test_data)
        .plot(curves)
        .progress()
    )
    result = trainer.run(train_data, epochs=epochs, key=jax.random.key(options.key))

    scores = loop.evaluator(model).metric("accuracy").run(test_data, result.model_state).metrics
    accuracy = float(scores["accuracy"])

    probabilities = nn.predict(model, result.model_state, digits.x_test[:8])
    print("\nThe first test images:")
    for label, row in zip(digits.y_test[:8], np.asarray(probabilities), strict=True):
        verdict = "right" if row.argmax() == label else "WRONG"
        print(f"  a {label}: the model says {row.argmax()} with probability {row.max():.3f}, {verdict}")

    weights = options.out / "weights.safetensors"
    files.save(weights, result.model_state)
    loaded = files.load(weights, like=result.model_state)
    if not np.array_equal(nn.predict(model, loaded, digits.x_test[:8]), probabilities):
        raise SystemExit(f"{weights}: the loaded weights predict something else than the trained ones")

    linear, seen = baseline(digits, options.compare)
    name = "MNIST" if options.data else "scikit-learn's digits"
    print(
        f"\nAfter {epochs} epochs on {name} ({len(digits.x_train)} images) the {options.model} reads"
        f" {accuracy:.2%} of {len(digits.x_test)} test images correctly.\n"
        f"The weights are in {weights} (loaded back: the same predictions, to the bit), the learning curves"
        f" in {curves}.\n"
        f"For comparison, scikit-learn's logistic regression on {seen} of these images reads {linear:.2%}"
        f" of the test images; the {options.model} is {100 * (accuracy - linear):+.2f} points from it."
    )


if __name__ == "__main__":
    main()
