"""A residual network of the size that is usual for CIFAR, on handwritten digits.

python examples/resnet.py                       # scikit-learn's 8x8 digits: runs anywhere, no download
python examples/resnet.py --data mnist.npz      # MNIST: x_train, y_train, x_test, y_test
"""

from __future__ import annotations

import argparse
import pathlib

import jax
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from axonax import graph as nn
from axonax import loop, optim


def read_digits(path: pathlib.Path | None, images: int) -> tuple[np.ndarray, ...]:
    """Images ``(N, height, width, 1)`` in [0, 1] and labels, to train and to test on."""
    if path is None:
        bundled = load_digits()
        cut = len(bundled.images) * 4 // 5
        x, y, highest = bundled.images[..., None], bundled.target, 16
        parts = (x[:cut], y[:cut], x[cut:], y[cut:])
    else:
        with np.load(path) as data:
            parts = tuple(data[name] for name in ("x_train", "y_train", "x_test", "y_test"))
        parts, highest = (parts[0][..., None], parts[1], parts[2][..., None], parts[3]), 255
    x_train, y_train, x_test, y_test = (part[:images] for part in parts)
    scaled = ((each / highest).astype(np.float32) for each in (x_train, x_test))
    return next(scaled), y_train.astype(np.int32), next(scaled), y_test.astype(np.int32)


def residual(filters: int, strides: int = 1) -> nn.Block:
    """Two convolutions beside what goes in, which is projected where the shape changes."""

    def body(x: nn.Node) -> nn.Node:
        inner = (
            x
            | nn.conv(filters, 3, strides=strides, padding="same", use_bias=False)
            | nn.batch_norm(momentum=0.9)
        )
        inner = inner | nn.relu() | nn.conv(filters, 3, padding="same", use_bias=False)
        inner = inner | nn.batch_norm(momentum=0.9)
        beside = x if strides == 1 else x | nn.conv(filters, 1, strides=strides, use_bias=False)
        return inner + beside | nn.relu()

    return nn.block(body)


def resnet(image_shape: tuple[int, ...], width: int, blocks: int) -> nn.Node:
    """Three stages of residual blocks, each with twice the filters on a quarter of the positions."""
    node = nn.input("image", (None, *image_shape))
    node = node | nn.conv(width, 3, padding="same", use_bias=False) | nn.batch_norm(momentum=0.9) | nn.relu()
    for stage in range(3):
        for place in range(blocks):
            node = node | residual(width * 2**stage, 2 if stage and not place else 1)
    return node | nn.global_avg_pool() | nn.dense(10, activation="softmax")


def main() -> None:
    """Read, train, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=pathlib.Path, help="an NPZ file of MNIST; default: the bundled digits")
    parser.add_argument("--images", type=int, default=6000, help="how many to train on at most")
    parser.add_argument("--epochs", type=int, help="default: 3, and 15 for the few bundled digits")
    parser.add_argument("--key", type=int, default=0, help="the seed of everything random in the run")
    parser.add_argument("--smoke", action="store_true", help="one epoch of a few images, to see that it runs")
    options = parser.parse_args()
    loop.cache()  # the second run of this program starts faster
    epochs = options.epochs or (3 if options.data else 15)
    width, blocks, images = (4, 1, 128) if options.smoke else (16, 2, options.images)
    epochs = 1 if options.smoke else epochs

    x_train, y_train, x_test, y_test = read_digits(options.data, images)
    model = resnet(x_train.shape[1:], width, blocks)
    print(model)
    train = loop.arrays(x_train, y_train, batch_size=64, shuffle=True, drop_last=True)
    test = loop.arrays(x_test, y_test, batch_size=64)
    rate = optim.cosine_decay(3e-3, epochs * len(train))
    trainer = (
        loop.trainer(model, "categorical_cross_entropy", optim.adamw(rate))
        .metric("accuracy")
        .validate(test)
        .log(every=len(train))
    )
    result = trainer.run(train, epochs=epochs, key=jax.random.key(options.key))

    flat = [each.reshape(len(each), -1) for each in (x_train, x_test)]
    linear = LogisticRegression(max_iter=1000).fit(flat[0], y_train).score(flat[1], y_test)
    print(
        f"\nAfter {epochs} epochs on {len(x_train)} images the residual network reads"
        f" {result.metrics['validation_accuracy']:.2%} of {len(x_test)} test images;"
        f" scikit-learn's logistic regression on the same images reads {linear:.2%}."
    )


if __name__ == "__main__":
    main()
