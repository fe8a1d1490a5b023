"""Fine-tuning by updates of low rank: half of the digits first, then the others on a frozen network.

python examples/lora.py                       # scikit-learn's 8x8 digits: runs anywhere, no download
python examples/lora.py --data mnist.npz      # MNIST: x_train, y_train, x_test, y_test
"""

from __future__ import annotations

import argparse
import pathlib

import jax
import numpy as np
from sklearn.datasets import load_digits

from axonax import graph as nn
from axonax import loop, optim
from axonax.tensor.contracts import ModelState

Half = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def read_halves(path: pathlib.Path | None, images: int) -> list[Half]:
    """The digits 0 to 4 and 5 to 9, each numbered from 0: images and labels to train and to test on."""
    if path is None:
        x, y = load_digits(return_X_y=True)
        cut, highest = len(x) * 4 // 5, 16
        parts = x[:cut], y[:cut], x[cut:], y[cut:]
    else:
        with np.load(path) as data:
            parts = tuple(data[name] for name in ("x_train", "y_train", "x_test", "y_test"))
        highest = 255
    halves = []
    for first in (0, 5):
        half = []
        for x, y in (parts[:2], parts[2:]):
            chosen = np.flatnonzero((first <= y) & (y < first + 5))[:images]
            half += [(x[chosen].reshape(len(chosen), -1) / highest).astype(np.float32)]
            half += [(y[chosen] - first).astype(np.int32)]
        halves.append(tuple(half))
    return halves


def network(features: int) -> nn.Node:
    """Two hidden layers and five classes."""
    return (
        nn.input("image", (None, features))
        | nn.dense(256, activation="relu")
        | nn.dense(256, activation="relu")
        | nn.dense(5, activation="softmax", name="head")
    )


def trained(model: nn.Node, state: ModelState | None, half: Half, epochs: int, key: jax.Array) -> ModelState:
    """The state after training what is not frozen in it."""
    rate = optim.cosine_decay(2e-3, epochs * (len(half[0]) // 64))
    trainer = loop.trainer(model, "categorical_cross_entropy", optim.adam(rate))
    batches = loop.arrays(half[0], half[1], batch_size=64, shuffle=True, drop_last=True)
    return trainer.run(batches, state, epochs=epochs, key=key).model_state


def accuracy(model: nn.Node, state: ModelState, half: Half) -> float:
    """The share of test images that are read correctly."""
    return float((np.argmax(nn.predict(model, state, half[2]), -1) == half[3]).mean())


def size(tree: object) -> int:
    """The number of elements of all arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def main() -> None:
    """Pre-train, tune in two ways, merge, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=pathlib.Path, help="an NPZ file of MNIST; default: the bundled digits")
    parser.add_argument("--rank", type=int, default=4)
    parser.add_argument("--key", type=int, default=0, help="the seed of everything random in the run")
    parser.add_argument("--smoke", action="store_true", help="one epoch of a few images, to see that it runs")
    options = parser.parse_args()
    loop.cache()  # the second run of this program starts faster
    epochs, images = (1, 128) if options.smoke else (5 if options.data else 40, 20_000)
    key = jax.random.key(options.key)

    first, second = read_halves(options.data, images)
    model = network(first[0].shape[1])
    base = trained(model, None, first, epochs, key)
    print(
        f"The network reads {accuracy(model, base, first):.2%} of the digits 0 to 4 that it was trained on."
    )

    tuned_model, tuned = nn.lora(model, rank=options.rank, state=base, key=key)
    print(tuned_model)
    tuned = trained(tuned_model, tuned, second, epochs, key)
    whole = trained(model, base, second, epochs, key)
    merged_model, merged = nn.merge_lora(tuned_model, tuned)
    off = np.abs(
        nn.predict(merged_model, merged, second[2]) - nn.predict(tuned_model, tuned, second[2])
    ).max()

    unmoved = all(
        np.array_equal(base.params[layer]["kernel"], tuned.frozen[layer]["kernel"]) for layer in base.params
    )
    print(
        f"\nOf the digits 5 to 9 it reads {accuracy(tuned_model, tuned, second):.2%} after training"
        f" {size(tuned.params)} numbers of rank {options.rank} beside {size(tuned.frozen)} frozen ones"
        f" ({'which have not moved' if unmoved else 'WHICH HAVE MOVED'});\n"
        f"training all {size(whole.params)} makes it {accuracy(model, whole, second):.2%}.\n"
        f"Merged into the kernels the updates give the same predictions, to {off:.0e}."
    )


if __name__ == "__main__":
    main()
