"""A small run that goes on from its checkpoints, and prints a checksum.

    resumable.py FOLDER [SECONDS [WHERE]]

WHERE is what takes that time: a batch, ``validating`` or ``saving``.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from axonax import loop

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)
Y = (X @ np.array([1.0, 2.0, 3.0], np.float32)).astype(np.float32)
DATA = loop.arrays(X, Y, batch_size=6, shuffle=True)  # 7 batches, the last of 4 rows
EPOCHS = 3


class Slow:
    """The batches of `DATA`, each after a pause."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def batches(self, epoch: int, *, key: Any = None, step: int = 0) -> Iterator[Any]:
        """As of any source."""
        for batch in DATA.batches(epoch, key=key, step=step):
            time.sleep(self._seconds)
            yield batch


def init(key: Any, x: Any) -> dict[str, jax.Array]:
    """Three weights."""
    return {"w": jax.random.normal(key, (3,))}


def apply(params: Any, x: Any, train: bool = False, key: Any = None) -> jax.Array:
    """A product, with dropout on the inputs."""
    return (x * jax.random.bernoulli(key, 0.8, x.shape) if train else x) @ params["w"]


def squared(y_true: Any, y_pred: Any) -> Any:
    """The squared error."""
    return (y_true - y_pred) ** 2


def trainer(data: Any = ((X, Y),)) -> loop.Loop:
    """Dropout, shuffling, a schedule, averages that are validated, policies with memory."""
    schedule = optax.cosine_decay_schedule(0.3, 30)
    optimizer = optax.inject_hyperparams(optax.adam)(schedule)
    return (
        loop.trainer((init, apply), squared, optimizer)
        .metric(squared, "mse")
        .validate(data)
        .early_stop("validation_loss", patience=2)
        .monitor("validation_mse", lambda state: None)
    )


def digest(result: loop.Result) -> str:
    """A checksum of all that must be equal: state, counts, history but for seconds, memory."""
    leaves = jax.tree.leaves(result.step_state)
    arrays = [np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf) for leaf in leaves]
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in result.history]
    memory = jax.tree.flatten({name: result.memory[name] for name in ("early_stop", "monitor")})
    text = repr((rows, dict(result.metrics), result.epoch, result.iteration, result.status, memory))
    return hashlib.sha256(b"".join(leaf.tobytes() for leaf in arrays) + text.encode()).hexdigest()


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def run(folder: Path, seconds: float = 0.0, where: str = "batch") -> loop.Result:
    """Train to the end, from where the folder's checkpoints are."""

    def validation(epoch: int) -> Iterator[Any]:
        for part in range(0, 40, 4):
            print("validating", flush=True)
            time.sleep(seconds)
            yield X[part : part + 4], Y[part : part + 4]

    if where == "saving":
        write = os.fsync
        os.fsync = lambda number: (print("saving", flush=True), time.sleep(seconds), write(number))[2]
    base = trainer(validation) if where == "validating" else trainer()
    saving = base.checkpoint(folder, keep=2, best="validation_loss", event="epoch_completed")
    saving = saving.on("iteration_completed", lambda state: loop.control(loop.SAVE, state), every=2)
    return saving.run(Slow(seconds if where == "batch" else 0.0), epochs=EPOCHS, resume=True)


if __name__ == "__main__":
    print("started", flush=True)
    chosen = sys.argv[2:]
    outcome = run(Path(sys.argv[1]), *map(float, chosen[:1]), *chosen[1:])
    print("ended", outcome.iteration, digest(outcome), flush=True)
