"""Shared weights: one encoder for two images, trained to tell whether they show the same digit.

python examples/siamese.py

It is tested on images that it has not seen.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

from axonax import graph as nn
from axonax import loop, optim

MARGIN = 1.0


def distance() -> nn.Node:
    """The distance between the codes of two images, which one encoder makes."""
    encode = nn.block(
        lambda x: (
            x
            | nn.conv(16, 3, padding="same", activation="relu")
            | nn.max_pool(2)
            | nn.conv(32, 3, padding="same", activation="relu")
            | nn.flatten()
            | nn.dense(16)
        ),
        name="encoder",
    )
    left, right = (nn.input(name, (None, 8, 8, 1)) | encode for name in ("left", "right"))
    return left - right | nn.function(lambda x: jnp.sqrt((x**2).sum(-1) + 1e-6), name="distance")


def contrastive(same: jax.Array, distance: jax.Array) -> jax.Array:
    """Pull together what is the same, push apart to a margin what is not.

    Source: Hadsell et al., Dimensionality Reduction by Learning an Invariant Mapping (2006).
    """
    return jnp.where(same, distance**2, jnp.maximum(MARGIN - distance, 0.0) ** 2)


def pairs(
    images: np.ndarray, labels: np.ndarray, count: int, batch_size: int
) -> Callable[[int], Iterator[tuple[dict[str, np.ndarray], np.ndarray]]]:
    """As many pairs of the same digit as of different ones, drawn anew in each epoch."""

    def epoch(number: int) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
        rng = np.random.default_rng(number)
        for _ in range(count):
            left = rng.integers(len(images), size=batch_size)
            same = rng.random(batch_size) < 0.5
            right = [
                rng.choice(np.flatnonzero((labels == labels[i]) == s))
                for i, s in zip(left, same, strict=True)
            ]
            yield {"left": images[left], "right": images[right]}, same

    return epoch


def main() -> None:
    """Train on most of the images, measure on the others."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--key", type=int, default=0, help="the seed of everything random in the run")
    parser.add_argument("--smoke", action="store_true", help="one short epoch, to see that it runs")
    options = parser.parse_args()
    loop.cache()  # the second run of this program starts faster
    epochs, steps = (1, 2) if options.smoke else (options.epochs, 100)

    digits = load_digits()
    images, labels = (digits.images[..., None] / 16).astype(np.float32), digits.target
    cut = len(images) * 4 // 5
    model = distance()
    print(model)
    result = (
        loop.trainer(model, contrastive, optim.adam(1e-3))
        .on(
            "epoch_completed", lambda state: print(f"  epoch {state.epoch}: loss {state.metrics['loss']:.4f}")
        )
        .run(
            pairs(images[:cut], labels[:cut], steps, 64),
            epochs=epochs,
            key=jax.random.key(options.key),
        )
    )

    (given, same), *_ = pairs(images[cut:], labels[cut:], 1, 2000)(0)
    apart = np.asarray(nn.predict(model, result.model_state, given))
    pixels = np.sqrt(((given["left"] - given["right"]) ** 2).sum((1, 2, 3)))
    area, plain = (float((one[~same][:, None] > one[same][None]).mean()) for one in (apart, pixels))
    print(
        f"\nOf two pairs of images that it has not seen, one of the same digit and one of different ones,"
        f" it finds which is which {area:.1%} of the time.\n"
        f"The distance between the pixels themselves does {plain:.1%} of the time."
    )


if __name__ == "__main__":
    main()
