"""One peer, one job: a line of JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import pathlib
import time

STARTED = time.time()
MODULES = {
    "axonax": "ours",
    "hand": "by_hand",
    "scan": "by_scan",
    "nnx": "nnx",
    "equinox": "eqx",
}


def main() -> None:
    """Read what to do, do it, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=MODULES)
    parser.add_argument("--job", choices=("mlp", "cnn", "lstm", "gpt", "resnet"), default="mlp")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=400, help="of an epoch at most")
    parser.add_argument("--epochs", type=int, default=3, help="after the first")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("../../shared/data"))
    parser.add_argument("--started", type=float, default=STARTED, help="when this process was started")
    options = parser.parse_args()

    # What the others load is not part of this one's start.
    peer_module = importlib.import_module(f"peers.{MODULES[options.peer]}")
    from peers.jobs import load
    from peers.peer import measured

    job = load(options.job, options.batch_size, options.steps, options.data)
    peer = peer_module.build(job)
    found = measured(peer, steps=job.steps, epochs=options.epochs, started=options.started)
    print(json.dumps({"peer": options.peer, "job": job.name, "batch_size": job.batch_size, **found}))


if __name__ == "__main__":
    main()
