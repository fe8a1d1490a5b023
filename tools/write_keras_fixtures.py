"""Write what Keras makes of the table of peers, or with --check compare what is committed.

Runs where Keras is installed beside the packages (``nox -s oracle``), on JAX; the tests read the file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from ops import peers, stored  # noqa: E402


def of_loss(peer: peers.Peer) -> dict[str, np.ndarray]:
    """The values of a loss, and their gradient in the predictions."""
    y, p = (each.astype(np.float32) if each.dtype.kind == "f" else each for each in peer.arrays)
    names = {"keras": keras, "L": keras.losses, "y": y}
    value, pull = jax.vjp(lambda p: eval(peer.keras, names | {"p": p}), p)
    (gradient,) = pull(stored.cotangent(value.shape, value.dtype))
    return {"value": np.asarray(value), "gradient": np.asarray(gradient)}


def of_metric(peer: peers.Peer) -> dict[str, np.ndarray]:
    """The value of a metric after one batch."""
    held = eval(peer.keras, {"K": keras.metrics})
    held.update_state(*peer.arrays)
    return {"value": np.asarray(held.result())}


def computed() -> dict[str, np.ndarray]:
    """All arrays by name."""
    found: dict[str, np.ndarray] = {}
    tables: tuple[tuple[Any, Any], ...] = ((peers.LOSSES, of_loss), (peers.METRICS, of_metric))
    for table, evaluate in tables:
        for number, peer in enumerate(table):
            if peer.keras:
                area = "losses" if table is peers.LOSSES else "metrics"
                for what, value in evaluate(peer).items():
                    found[f"{area}.{peer.name}|{number}|float32|{what}"] = value
    return found


def main() -> int:
    """Write the fixtures, or compare them."""
    arrays = computed()
    if "--check" not in sys.argv:
        path = stored.write("keras", arrays)
        print(f"{path.relative_to(ROOT)}: {len(arrays)} arrays, {path.stat().st_size} bytes")
        return 0
    committed = stored.read("keras")
    wrong = [f"{name} is missing or stale" for name in arrays.keys() ^ committed.keys()]
    wrong += [
        f"{name} differs"
        for name in arrays.keys() & committed.keys()
        if not np.allclose(arrays[name], committed[name], rtol=1e-4, atol=1e-5)
    ]
    print("\n".join(sorted(wrong)) or "the committed fixtures are what Keras gives")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
