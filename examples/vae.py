"""A variational autoencoder on scikit-learn's digits: any objective trains, whatever the model.

python examples/vae.py
"""

from __future__ import annotations

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from axonax import graph as nn
from axonax import loop, optim
from axonax.functional import losses
from axonax.tensor.contracts import ModelState

LATENT = 8


def autoencoder() -> nn.Node:
    """From an image to the moments of its code, a code drawn of them, and the image that it stands for."""
    image = nn.input("image", (None, 64))
    hidden = image | nn.dense(128, activation="relu")
    mean, spread = hidden | nn.dense(LATENT, name="mean"), hidden | nn.dense(LATENT, name="log_deviation")
    code = drawn()(mean, spread)
    decoded = code | nn.dense(128, activation="relu") | nn.dense(64, activation="sigmoid", name="decoded")
    return nn.container({"decoded": decoded, "mean": mean, "log_deviation": spread})


@nn.builder
def drawn(*, name: str | None = None) -> nn.Layer:
    """A layer that draws by a mean and the logarithm of a deviation while training, else takes the mean."""

    def draw(mean: jax.Array, log_deviation: jax.Array, key: jax.Array | None) -> jax.Array:
        return mean if key is None else mean + jnp.exp(log_deviation) * jax.random.normal(key, mean.shape)

    return nn.layer(draw, needs=("key",))


def main() -> None:
    """Train on the evidence lower bound, and compare with principal components."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--key", type=int, default=0, help="the seed of everything random in the run")
    parser.add_argument("--smoke", action="store_true", help="one epoch, to see that it runs")
    options = parser.parse_args()
    loop.cache()  # the second run of this program starts faster
    epochs = 1 if options.smoke else options.epochs

    images = (load_digits().data / 16).astype(np.float32)
    train, test = np.split(images, [len(images) * 4 // 5])
    model = autoencoder()
    print(model)
    init, apply = nn.build(model)

    def objective(
        state: ModelState, batch: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """The nats that an image takes by the bound: of its pixels, by a code drawn, and of its code."""
        found, _ = apply(state, batch, train=True, key=key)
        pixels = 64 * losses.binary_cross_entropy(batch, found["decoded"])
        mean, spread = found["mean"], found["log_deviation"]
        code = (mean**2 + jnp.exp(2 * spread) - 1).sum(-1) / 2 - spread.sum(-1)
        return pixels + code, {"pixels": pixels, "code": code}

    trainer = loop.trainer(objective=objective, init=init, optimizer=optim.adam(3e-3))
    batches = loop.arrays(train, batch_size=64, shuffle=True)
    key = jax.random.key(options.key)
    state = trainer.run(batches, epochs=epochs, key=key).model_state

    # Twenty codes for each image: one would leave the bound to chance.
    draw = jax.jit(jax.vmap(lambda key: objective(state, test, key)[1]))
    nats = {name: float(each.mean()) for name, each in draw(jax.random.split(key, 20)).items()}
    shown = nn.predict(model, state, test)["decoded"]
    components = PCA(LATENT).fit(train)
    linear = components.inverse_transform(components.transform(test))
    mean = np.broadcast_to(train.mean(0), test.shape)
    without = float(64 * losses.binary_cross_entropy(test, mean).mean())
    errors = [float(((each - test) ** 2).sum(-1).mean()) for each in (shown, linear, mean)]
    print(
        f"\nAfter {epochs} epochs an image that was not seen takes at most {sum(nats.values()):.2f} nats:"
        f" {nats['pixels']:.2f} for its pixels and {nats['code']:.2f} for its code of {LATENT} numbers;"
        f" pixel by pixel of the mean image it takes {without:.2f}.\n"
        f"The decoded images are off by {errors[0]:.2f} (squared, an image), the mean image by"
        f" {errors[2]:.2f}; {LATENT} principal components, whose numbers cost nothing, by {errors[1]:.2f}."
    )


if __name__ == "__main__":
    main()
