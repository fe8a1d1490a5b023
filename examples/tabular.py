"""A model of two inputs: numbers, and a category by an embedding.

python examples/tabular.py

The table is made: the price of a used car by its age, mileage, make and last service, which is not always
known. Each make starts at a price of its own and loses a share of its own each year, so a linear model is
not enough.
"""

from __future__ import annotations

import argparse

import jax
import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression

from axonax import graph as nn
from axonax import loop, optim

MAKES, NOISE = 12, 0.5  # of the prices, in thousands
Table = dict[str, np.ndarray]


def cars(count: int, seed: int) -> tuple[Table, np.ndarray]:
    """Columns by name, and prices in thousands."""
    rng = np.random.default_rng(seed)
    worth = np.random.default_rng(0).uniform(10, 40, MAKES)
    keeps = np.random.default_rng(1).uniform(0.75, 0.92, MAKES)
    make, age = rng.integers(MAKES, size=count), rng.uniform(0, 15, count)
    mileage, service = age * rng.uniform(5, 25, count), rng.uniform(0, 3, count)
    known = rng.random(count) < 2 / 3
    price = worth[make] * keeps[make] ** age * np.exp(-mileage / 600) - 1.5 * service
    numbers = [age / 15, mileage / 375, np.where(known, service / 3, 0), known]
    table = {"numbers": np.stack(numbers, 1).astype(np.float32), "make": make.astype(np.int32)}
    return table, (price + rng.normal(0, NOISE, count)).astype(np.float32)[:, None]


def pricing() -> nn.Node:
    """The price by numbers and make."""
    numbers, make = nn.input("numbers", (None, 4)), nn.input("make", (None,), dtype="int32")
    joined = nn.concatenate(numbers, make | nn.embedding(MAKES, 4, kernel_initializer="he_normal"))
    return (
        joined | nn.dense(64, activation="gelu") | nn.dense(64, activation="gelu") | nn.dense(1, name="price")
    )


def main() -> None:
    """Train, and compare with what one would take else."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cars", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--key", type=int, default=0, help="the seed of everything random in the run")
    parser.add_argument("--smoke", action="store_true", help="one epoch of a few cars, to see that it runs")
    options = parser.parse_args()
    loop.cache()  # the second run of this program starts faster
    count, epochs = (500, 1) if options.smoke else (options.cars, options.epochs)

    table, price = cars(count, 2)
    unseen, unseen_price = cars(2000, 3)
    model = pricing()
    print(model)
    batches = loop.arrays(table, price, batch_size=64, shuffle=True, drop_last=True)
    rate = optim.cosine_decay(5e-3, epochs * len(batches))
    trainer = loop.trainer(model, "mean_squared_error", optim.adamw(rate))
    result = trainer.run(batches, epochs=epochs, key=jax.random.key(options.key))

    def columns(table: Table) -> np.ndarray:
        return np.concatenate([table["numbers"], np.eye(MAKES)[table["make"]]], 1)

    found = {"the network": np.asarray(nn.predict(model, result.model_state, unseen))[:, 0]}
    for name, other in (
        ("gradient boosting", HistGradientBoostingRegressor(random_state=0)),
        ("a linear model", LinearRegression()),
    ):
        found[name] = other.fit(columns(table), price[:, 0]).predict(columns(unseen))
    print(
        f"\nErrors of the prices of {len(unseen_price)} other cars, in thousands (root of the mean square):"
    )
    for name, guesses in found.items():
        print(f"  {name:<18}{np.sqrt(((guesses - unseen_price[:, 0]) ** 2).mean()):.3f}")
    # A service that is not known is uniform over three years, each of which costs 1.5.
    unknown = 1.5**2 * 3**2 / 12 / 3
    print(f"  {'at best':<18}{np.sqrt(NOISE**2 + unknown):.3f}")


if __name__ == "__main__":
    main()
