"""Rows of ``axonax.tensor.layers``: positions, as rotations, sines and biases."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ops.row import Bound, OpRow, case

_RANDOM = np.random.default_rng(59)
X = _RANDOM.normal(size=(2, 3, 2, 8))
TABLE = _RANDOM.normal(size=(8, 3))
CONSTANT = {"gradient": "none", "gradient_reason": "a constant", "half": False}
SINES = Bound(4, absolute=3e-7, reason="products of x with sines that are near 0")


def rotary(
    x: Any,
    positions: Any = None,
    *,
    offset: Any = 0,
    base: float = 10000.0,
    fraction: float = 1.0,
    frequencies: Any = None,
    interleaved: bool = False,
) -> np.ndarray:
    """As products of complex numbers."""
    if frequencies is None:
        size = int(x.shape[-1] * fraction)
        frequencies = np.array([base ** (-2 * i / size) for i in range(size // 2)])
    count = len(frequencies)
    where = np.arange(x.shape[1]) if positions is None else positions
    turns = np.exp(1j * (np.asarray(where) + offset)[..., None, None] * frequencies)
    front, rest = x[..., : 2 * count], x[..., 2 * count :]
    if interleaved:
        turned = (front[..., ::2] + 1j * front[..., 1::2]) * turns
        front = np.stack([turned.real, turned.imag], -1).reshape(front.shape)
    else:
        turned = (front[..., :count] + 1j * front[..., count:]) * turns
        front = np.concatenate([turned.real, turned.imag], -1)
    return np.concatenate([front, rest], -1)


def sines(positions: Any, size: int, *, base: float = 10000.0, interleaved: bool = True) -> np.ndarray:
    found = np.zeros((*np.shape(positions), size))
    for i in range(size // 2):
        angle = positions * base ** (-2 * i / size)
        found[..., 2 * i if interleaved else i] = np.sin(angle)
        found[..., 2 * i + 1 if interleaved else size // 2 + i] = np.cos(angle)
    return found


def slopes(heads: int) -> np.ndarray:
    """As the code of the paper's authors has it."""
    if math.log2(heads).is_integer():
        start = 2 ** -(2 ** -(math.log2(heads) - 3))
        return np.array([start * start**i for i in range(heads)])
    closest = 2 ** math.floor(math.log2(heads))
    return np.concatenate([slopes(closest), slopes(2 * closest)[0::2][: heads - closest]])


def linear_bias(heads: int, queries: int, keys: Any = None, *, offset: Any = None) -> np.ndarray:
    keys = queries if keys is None else keys
    offset = keys - queries if offset is None else offset
    return np.array(
        [
            [[-slope * abs(s - t - offset) for s in range(keys)] for t in range(queries)]
            for slope in slopes(heads)
        ]
    )


def bucket(distance: int, buckets: int, bidirectional: bool, max_distance: int) -> int:
    """The bucket of one ``key - query``; a whole power of 2 above the exact ones is one without rounding."""
    first = 0
    if bidirectional:
        buckets //= 2
        first, distance = (buckets if distance > 0 else 0), abs(distance)
    else:
        distance = max(-distance, 0)
    exact = buckets // 2
    if distance < exact:
        return first + distance
    steps = math.log2(distance / exact) / math.log2(max_distance / exact) * (buckets - exact)
    return first + min(exact + math.floor(steps + 1e-9), buckets - 1)


def relative(
    kernel: Any,
    queries: int,
    keys: Any = None,
    *,
    bidirectional: bool = True,
    max_distance: int = 128,
    offset: Any = None,
) -> np.ndarray:
    keys = queries if keys is None else keys
    offset = keys - queries if offset is None else offset
    found = np.zeros((kernel.shape[1], queries, keys))
    for t in range(queries):
        for s in range(keys):
            found[:, t, s] = kernel[bucket(s - t - offset, len(kernel), bidirectional, max_distance)]
    return found


def norms_stay(op: Any) -> None:
    x = jnp.asarray(X, jnp.float32)
    for options in ({}, {"interleaved": True}, {"fraction": 0.5}, {"offset": 123456}):
        found = op(x, **options)
        np.testing.assert_allclose(np.linalg.norm(found, axis=-1), np.linalg.norm(x, axis=-1), rtol=1e-6)


def products_depend_on_distance_alone(op: Any) -> None:
    q, k = (jnp.asarray(each, jnp.float32) for each in (X[:1, :1], X[1:, :1]))
    for interleaved in (False, True):
        found = [
            jnp.sum(
                op(q, offset=at + 5, interleaved=interleaved) * op(k, offset=at, interleaved=interleaved), -1
            )
            for at in (0, 1, 1000, 4000000)
        ]
        for each in found[1:]:
            np.testing.assert_allclose(each, found[0], rtol=1e-5, atol=3e-6)


def exact_far_out(op: Any) -> None:
    """At positions of millions, where a product in float32 is off by a tenth of a radian; negative too."""
    x = jnp.ones((1, 4, 1, 64))
    positions = np.array([3, 99_991, 16_000_001, -700_003])
    np.testing.assert_allclose(
        op(x, jnp.asarray(positions)), rotary(np.ones((1, 4, 1, 64)), positions), atol=1e-6
    )


def an_offset_is_traced(op: Any) -> None:
    x = jnp.asarray(X, jnp.float32)
    found = jax.jit(lambda at: op(x, offset=at))(7)
    np.testing.assert_allclose(found, op(x, jnp.arange(3) + 7), atol=1e-6)
    np.testing.assert_allclose(found, op(x, jnp.broadcast_to(jnp.arange(3.0) + 7, (2, 3))), atol=2e-6)


def the_papers_slopes(op: Any) -> None:
    np.testing.assert_array_equal(-op(8, 1, 2)[:, 0, 0], 0.5 ** np.arange(1, 9))
    np.testing.assert_array_equal(-op(1, 1, 2)[:, 0, 0], [2.0**-8])


def borders_of_buckets(op: Any) -> None:
    """Against the bucket of each distance, to beyond the largest; whole powers open a bucket of their own."""
    for buckets, bidirectional, max_distance in (
        (32, True, 128),
        (32, False, 128),
        (6, True, 20),
        (5, False, 9),
    ):
        options = {"bidirectional": bidirectional, "max_distance": max_distance}
        kernel = np.arange(float(buckets))[:, None]
        found = op(jnp.asarray(kernel), 300, 300, **options)
        np.testing.assert_array_equal(found[0, 150], relative(kernel, 1, 300, offset=150, **options)[0, 0])
    found = op(jnp.arange(32.0)[:, None], 1, 200, bidirectional=False, max_distance=64, offset=199)[
        0, 0, ::-1
    ]
    assert [int(found[at]) for at in (15, 16, 31, 32, 63, 64, 199)] == [15, 16, 23, 24, 31, 31, 31]


ROWS: tuple[OpRow, ...] = (
    OpRow(
        name="layers.rotary_embedding",
        formula="pairs of features turned by position base^(-2i / size)",
        oracle=rotary,
        oracle_name="complex products in float64",
        peers="torchtune, Keras Hub",
        cases=(
            case(X),
            case(X, np.array([5, 0, 77]), interleaved=True),
            case(X, np.array([[0, 1, 2], [9, 10, 31]]), base=500000.0, offset=2),
            case(X, fraction=0.5),
            case(X, frequencies=np.array([1.0, 0.5, 0.25]), interleaved=True),
            case(X[:, :0].copy()),
        ),
        bound=SINES,
        edges=(case(X * 0),),
        torch="rotary(x, positions, offset, base, fraction, frequencies, interleaved)",
        laws=(norms_stay, products_depend_on_distance_alone, exact_far_out, an_offset_is_traced),
    ),
    OpRow(
        name="layers.sinusoidal",
        formula="sin and cos of position base^(-2i / size)",
        oracle=sines,
        oracle_name="one frequency after the other in float64",
        peers="Keras Hub",
        cases=(
            case(_RANDOM.random((2, 3)), 6),
            case(np.arange(5), 8),
            case(np.array(1_000_003), 4, base=100.0, interleaved=False),
            case(np.zeros((0,), int), 4),
        ),
        bound=Bound(4, absolute=3e-7, reason="sines near 0"),
        no_torch="torch has none",
    ),
    OpRow(
        name="layers.alibi",
        formula="-slope |key - query|",
        oracle=linear_bias,
        oracle_name="the code of the paper's authors",
        cases=(case(3, 2, 5, offset=np.array(1)), case(4, 3), case(12, 2, 4), case(40, 1, 2)),
        laws=(the_papers_slopes,),
        no_torch="torch has none",
        **CONSTANT,
    ),
    OpRow(
        name="layers.relative_position_bias",
        formula="kernel[bucket(key - query)]",
        oracle=relative,
        oracle_name="each bucket by itself",
        peers="T5",
        cases=(
            case(TABLE, 6, max_distance=8),
            case(TABLE, 4, 9, bidirectional=False, max_distance=6),
            case(TABLE, 2, 40, offset=30, max_distance=16),
            case(TABLE, 1),
        ),
        bound=Bound(0),
        torch="relative(kernel, queries, keys, bidirectional, max_distance, offset)",
        laws=(borders_of_buckets,),
    ),
)
