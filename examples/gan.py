"""A generative adversarial network on small digits: two players that train in turn within one step.

python examples/gan.py
python examples/gan.py --data mnist.npz      # MNIST: x_train, y_train, x_test, y_test
"""

from __future__ import annotations

import argparse
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import image
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import SVC

from axonax import graph as nn
from axonax import loop, optim
from axonax.tensor.contracts import ModelState
from axonax.tensor.updates import evaluation_params

CODE = 16
PIXELS = 64


def generator() -> nn.Node:
    """From a code to an image of 8 by 8."""
    hidden = nn.input("code", (None, CODE)) | nn.dense(128, activation="relu")
    return hidden | nn.dense(128, activation="relu") | nn.dense(PIXELS, activation="sigmoid")


def discriminator() -> nn.Node:
    """From an image to the logit that it is real."""
    hidden = nn.input("image", (None, PIXELS)) | nn.dense(128, activation="leaky_relu") | nn.dropout(0.3)
    return hidden | nn.dense(128, activation="leaky_relu") | nn.dropout(0.3) | nn.dense(1)


def digits(path: pathlib.Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Images of 8 by 8 in [0, 1] and their labels; those of MNIST are halved twice, to 7 by 7, and framed."""
    if path is None:
        data = load_digits()
        return (data.data / 16).astype(np.float32), data.target
    with np.load(path) as file:
        images, labels = file["x_train"][:10000] / 255, file["y_train"][:10000]
    small = images.reshape(-1, 7, 4, 7, 4).mean((2, 4))
    return np.pad(small, ((0, 0), (0, 1), (0, 1))).reshape(-1, PIXELS).astype(np.float32), labels


def show(images: np.ndarray, path: pathlib.Path) -> None:
    """Write the first hundred images as a picture of 10 by 10."""
    framed = np.pad(images[:100].reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    rows = framed.reshape(10, 10, 10, 10).transpose(0, 2, 1, 3).reshape(100, 100)
    image.imsave(path, np.kron(rows, np.ones((4, 4))), cmap="gray_r", vmin=0, vmax=1)


def main() -> None:
    """Train, draw, and measure the images beside those of a Gaussian and beside real ones."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=pathlib.Path, help="an NPZ file of MNIST; default: the bundled digits")
    parser.add_argument("--epochs", type=int, help="default: 400, of MNIST 100")
    parser.add_argument("--key", type=int, default=0, help="the seed of everything random in the run")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("gan.png"))
    parser.add_argument("--smoke", action="store_true", help="two epochs, to see that it runs")
    options = parser.parse_args()
    epochs = 2 if options.smoke else options.epochs or (100 if options.data else 400)

    images, labels = digits(options.data)
    order = np.random.default_rng(0).permutation(len(images))
    train, test = np.split(order, [len(order) * 4 // 5])
    draw, judge = nn.build(generator()), nn.build(discriminator())

    def init(key: jax.Array, batch: jax.Array) -> dict[str, ModelState]:
        codes = jnp.zeros((len(batch), CODE))
        both = {"generator": (draw, codes), "discriminator": (judge, batch)}
        keys = dict(zip(both, jax.random.split(key), strict=True))
        return {player: model.init(keys[player], inputs) for player, (model, inputs) in both.items()}

    def drawn(states: dict[str, ModelState], count: int, key: jax.Array) -> jax.Array:
        return draw.apply(states["generator"], jax.random.normal(key, (count, CODE)), train=True)[0]

    def judged(states: dict[str, ModelState], images: jax.Array, key: jax.Array) -> jax.Array:
        return judge.apply(states["discriminator"], images, train=True, key=key)[0][:, 0]

    def fool(states: dict[str, ModelState], batch: jax.Array, key: jax.Array) -> jax.Array:
        """The nats by which the discriminator takes generated images for generated ones."""
        codes, dropped = jax.random.split(key)
        return jax.nn.softplus(-judged(states, drawn(states, len(batch), codes), dropped))

    def tell(states: dict[str, ModelState], batch: jax.Array, key: jax.Array) -> jax.Array:
        """The nats that the discriminator is wrong by, on real images and on generated ones."""
        codes, dropped, others = jax.random.split(key, 3)
        real = jax.nn.softplus(-judged(states, batch, dropped))
        return real + jax.nn.softplus(judged(states, drawn(states, len(batch), codes), others))

    trainer = loop.trainer(
        objective={"discriminator": tell, "generator": fool},
        init=init,
        optimizer={player: optim.adam(5e-4, b1=0.5) for player in ("generator", "discriminator")},
    ).ema(0.999)
    print(trainer)
    batches = loop.arrays(images[train], batch_size=64, shuffle=True, drop_last=True)
    result = trainer.run(batches, epochs=epochs, key=jax.random.key(options.key))

    state = result.model_state["generator"]
    averaged = evaluation_params(result.step_state.extras["generator"], state.params)
    codes = jax.random.normal(jax.random.key(options.key + 1), (1000, CODE))
    made = np.asarray(draw.apply(state.replace(params=averaged), codes)[0])
    show(made, options.out)

    gaussian = np.random.default_rng(1).multivariate_normal(
        images[train].mean(0), np.cov(images[train].T), 1000, method="svd"
    )
    reader = SVC(gamma="scale").fit(images[train], labels[train])
    nearest = NearestNeighbors(n_neighbors=1).fit(images[train])
    print(f"\nAfter {epochs} epochs, 1000 images each ({options.out} shows a hundred of the first kind):")
    kinds = {"generated": made, "of a Gaussian": np.clip(gaussian, 0, 1), "real, not seen": images[test]}
    for kind, each in kinds.items():
        distance = nearest.kneighbors(each)[0].mean()
        shares = np.bincount(reader.predict(each), minlength=10) / len(each)
        print(
            f"{kind:15} are {distance:.2f} from the nearest image trained on;"
            f" of the ten digits the rarest is read in {shares.min():.1%}"
        )


if __name__ == "__main__":
    main()
