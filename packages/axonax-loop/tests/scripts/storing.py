"""Saves one checkpoint more into a folder that has some, pruning the oldest: storing.py FOLDER STEP."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from axonax.loop.checkpoint._store import Store

if __name__ == "__main__":
    step = int(sys.argv[2])
    with Store(Path(sys.argv[1]), keep=2, asynchronous=False) as store:
        store.save(step, {"state/w": np.full(3, step, np.float32)}, {"step": step}, best=step == 2)
    print("stored", flush=True)
