"""Run by ``test_mesh.py`` in a process of its own: every metric over eight devices equals one device."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import jax

jax.config.update("jax_num_cpu_devices", 8)
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np  # noqa: E402
from jax.sharding import AxisType, NamedSharding  # noqa: E402
from jax.sharding import PartitionSpec as P  # noqa: E402

from ops.row import MetricRow  # noqa: E402
from ops.table import METRICS  # noqa: E402

DEVICES = 8
MESH = jax.make_mesh((DEVICES,), ("data",), axis_types=(AxisType.Auto,))
SPREAD = NamedSharding(MESH, P("data"))


def same(row: MetricRow, found: Any, expected: Any) -> None:
    """Equal within what the row allows."""
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, two, rtol=row.rtol, atol=row.rtol, err_msg=row.name)


def check(row: MetricRow) -> None:
    """Two batches partitioned by the compiler, then one shard a device whose states are merged."""
    one = row.cases[0]
    metric = row.op(**one.options)
    whole = one.cast(np.float32)
    count = len(whole[0]) // DEVICES * DEVICES
    arrays = [each[:count] for each in whole]
    state = metric.init(*arrays)
    expected = jax.jit(lambda *xs: metric.compute(metric.update(state, *xs)))(*arrays)
    placed = [jax.device_put(each, SPREAD) for each in arrays]
    same(row, jax.jit(lambda *xs: metric.compute(metric.update(state, *xs)))(*placed), expected)
    if metric.merge is None:
        return

    @jax.jit
    @jax.shard_map(mesh=MESH, in_specs=P("data"), out_specs=P("data"))
    def parts(*shards: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[None], metric.update(state, *shards))

    states = jax.device_get(parts(*placed))
    each = [jax.tree.map(lambda leaf, i=i: leaf[i], states) for i in range(DEVICES)]
    same(row, metric.compute(functools.reduce(jax.jit(metric.merge), each)), expected)


def main() -> None:
    """The metrics whose names are given, or all."""
    assert jax.device_count() == DEVICES
    for row in METRICS:
        if not sys.argv[1:] or row.name.split(".")[1] in sys.argv[1:]:
            check(row)


if __name__ == "__main__":
    main()
