"""Rows of ``axonax.tensor.initializers``: what a draw must be like."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from axonax.tensor import layers
from ops.row import DrawRow, case

MATRIX, KERNEL = (150, 250), (3, 3, 40, 70)
_RANDOM = "another generator draws other numbers: compared by distribution"
_CONSTANT = "nothing is computed"
_phi = np.vectorize(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), otypes=[np.float64])
# The standard deviation of a standard normal cut at two standard deviations.
CUT = 0.87962566103423978


def fans(shape: tuple[int, ...]) -> tuple[float, float]:
    """Fan in and fan out of a kernel ``(*spatial, in, out)``."""
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


def follows(cdf: Callable[[np.ndarray], np.ndarray], low: float, high: float) -> Callable[[Any], None]:
    """The check by Kolmogorov and Smirnov, at a level of 1e-4 for a fixed key, and of hard limits."""

    def check(x: np.ndarray) -> None:
        assert low <= x.min(), x.min()
        assert x.max() <= high, x.max()
        ordered = np.sort(x.ravel())
        steps = np.arange(ordered.size + 1) / ordered.size
        there = cdf(ordered)
        distance = max(np.abs(there - steps[:-1]).max(), np.abs(there - steps[1:]).max())
        assert distance <= 2.2 / math.sqrt(ordered.size), distance

    return check


def uniform(low: float, high: float) -> Callable[[Any], None]:
    return follows(lambda x: (x - low) / (high - low), low, high)


def normal(stddev: float, mean: float = 0.0) -> Callable[[Any], None]:
    return follows(lambda x: _phi((x - mean) / stddev), -np.inf, np.inf)


def truncated(
    stddev: float, mean: float = 0.0, lower: float = -2.0, upper: float = 2.0
) -> Callable[[Any], None]:
    """``stddev`` is that before the cut."""
    a, b = _phi(np.array([lower, upper]))
    limits = (mean + stddev * lower * (1 + 1e-6), mean + stddev * upper * (1 + 1e-6))
    return follows(lambda x: (_phi((x - mean) / stddev) - a) / (b - a), *limits)


def of_variance(distribution: str, variance: float) -> Callable[[Any], None]:
    """The check of a distribution of mean 0 by its variance."""
    stddev = math.sqrt(variance)
    if distribution == "uniform":
        return uniform(-math.sqrt(3) * stddev * (1 + 1e-6), math.sqrt(3) * stddev * (1 + 1e-6))
    return normal(stddev) if distribution == "normal" else truncated(stddev / CUT)


def equals(value: Any) -> Callable[[Any], None]:
    def check(x: np.ndarray) -> None:
        np.testing.assert_array_equal(x, np.broadcast_to(value, x.shape))

    return check


def orthonormal(gain: float = 1.0) -> Callable[[Any], None]:
    """Rows or columns of the flattened matrix, whichever are fewer, are orthogonal and of length ``gain``."""

    def check(x: np.ndarray) -> None:
        flat = x.reshape(-1, x.shape[-1])
        product = flat @ flat.T if flat.shape[0] < flat.shape[1] else flat.T @ flat
        np.testing.assert_allclose(product, gain**2 * np.eye(len(product)), atol=1e-5 * gain**2)

    return check


def centered(x: np.ndarray) -> np.ndarray:
    """The middle of the windows of a kernel, all else of which must be 0."""
    middle = x[tuple((size - 1) // 2 for size in x.shape[:-2])]
    assert np.count_nonzero(x) == np.count_nonzero(middle)
    return middle


def dirac(groups: int = 1, gain: float = 1.0) -> Callable[[Any], None]:
    def check(x: np.ndarray) -> None:
        for block in np.split(centered(x), groups, -1):
            np.testing.assert_array_equal(block, gain * np.eye(*block.shape))

    return check


def parts(*checks: Callable[[Any], None]) -> Callable[[Any], None]:
    """A check for each part of the last axis."""

    def check(x: np.ndarray) -> None:
        for part, each in zip(np.split(x, len(checks), -1), checks, strict=True):
            each(part)

    return check


def in_the_middle(gain: float = 1.0) -> Callable[[Any], None]:
    """A matrix with orthonormal rows."""
    return lambda x: orthonormal(gain)(centered(x))


def sparse(sparsity: float, stddev: float) -> Callable[[Any], None]:
    """The zeros of each column are as many as they should be, and anywhere; the rest is normal."""

    def check(x: np.ndarray) -> None:
        flat = x.reshape(-1, x.shape[-1])
        zeros = math.ceil(sparsity * len(flat))
        assert ((flat == 0).sum(0) == zeros).all()
        share = (flat == 0).mean(1)
        assert np.abs(share - zeros / len(flat)).max() < 5 * np.sqrt(0.25 / flat.shape[1])
        normal(stddev)(flat[flat != 0])

    return check


def keeps_its_inputs(op: Any) -> None:
    for window, groups in (((3,), 1), ((2, 3), 1), ((3, 3), 2), ((1, 2, 3), 1)):
        x = jax.random.normal(jax.random.key(0), (2, *(5,) * len(window), 4))
        kernel = op(groups=groups)(None, (*window, 4 // groups, 4))
        np.testing.assert_array_equal(layers.conv(x, kernel, padding="same", groups=groups), x)


def row(name: str, formula: str, *cases: Any, **rest: Any) -> DrawRow:
    given = {
        "oracle_name": "distribution function",
        "peers": "jax.nn, torch, Keras",
        "no_torch": _CONSTANT if rest.get("constant") else _RANDOM,
        **rest,
    }
    return DrawRow(name=f"initializers.{name}", formula=formula, cases=cases, **given)


def scaled(name: str, formula: str, fan: Callable[..., float], distribution: str, scale: float) -> DrawRow:
    """A row of a variance ``scale / fan``."""
    cases = [case(shape, of_variance(distribution, scale / fan(*fans(shape)))) for shape in (MATRIX, KERNEL)]
    half = of_variance(distribution, 0.5 / fan(*fans(MATRIX)))
    return row(name, formula, *cases, case(MATRIX, half, scale=0.5))


def fan_in(into: float, out: float) -> float:
    return into


def fan_out(into: float, out: float) -> float:
    return out


def fan_avg(into: float, out: float) -> float:
    return (into + out) / 2


_SCALING = tuple(
    case(
        MATRIX,
        of_variance(distribution, 0.7 / fan(*fans(MATRIX))),
        scale=0.7,
        mode=fan.__name__,
        distribution=distribution,
    )
    for fan in (fan_in, fan_out, fan_avg)
    for distribution in ("normal", "truncated_normal", "uniform")
)

ROWS: tuple[DrawRow, ...] = (
    row("zeros", "0", case((2, 3), equals(0.0)), case((), equals(0.0)), constant=True, oracle_name="NumPy"),
    row("ones", "1", case((2, 3), equals(1.0)), case((), equals(1.0)), constant=True, oracle_name="NumPy"),
    row("full", "value", case((2, 3), equals(0.5), value=0.5), constant=True, oracle_name="NumPy"),
    row(
        "uniform",
        "U(low, high)",
        case(MATRIX, uniform(-0.01, 0.01)),
        case(MATRIX, uniform(2.0, 3.0), low=2.0, high=3.0),
    ),
    row(
        "normal",
        "N(mean, stddev^2)",
        case(MATRIX, normal(0.01)),
        case(MATRIX, normal(2.0, 1.0), stddev=2.0, mean=1.0),
    ),
    row(
        "truncated_normal",
        "N(mean, stddev^2) cut at lower and upper standard deviations",
        case(MATRIX, truncated(0.01)),
        case(MATRIX, truncated(2.0, 1.0, -1.0, 3.0), stddev=2.0, mean=1.0, lower=-1.0, upper=3.0),
    ),
    row("variance_scaling", "variance scale / fan", *_SCALING),
    scaled("glorot_uniform", "uniform, variance 2 scale / (fan_in + fan_out)", fan_avg, "uniform", 1.0),
    scaled("glorot_normal", "cut normal, variance 2 scale / (fan_in + fan_out)", fan_avg, "truncated", 1.0),
    scaled("he_uniform", "uniform, variance scale / fan_in", fan_in, "uniform", 2.0),
    scaled("he_normal", "cut normal, variance scale / fan_in", fan_in, "truncated", 2.0),
    scaled("lecun_uniform", "uniform, variance scale / fan_in", fan_in, "uniform", 1.0),
    scaled("lecun_normal", "cut normal, variance scale / fan_in", fan_in, "truncated", 1.0),
    row(
        "orthogonal",
        "Q of a normal matrix, Q^T Q = gain^2 I",
        case((6, 6), orthonormal()),
        case((8, 32), orthonormal()),
        case((2, 3, 4, 5), orthonormal(2.0), gain=2.0),
        oracle_name="Q^T Q",
    ),
    row(
        "delta_orthogonal",
        "Q in the middle of the window, 0 elsewhere",
        case((3, 4, 5, 6), in_the_middle()),
        case((2, 3, 3), in_the_middle(2.0), gain=2.0),
        case((3, 2, 1, 3, 3), in_the_middle()),
        oracle_name="Q^T Q",
        peers="jax.nn",
    ),
    row(
        "identity",
        "gain I",
        case((3, 5), equals(np.eye(3, 5))),
        case((4, 4), equals(2 * np.eye(4)), gain=2.0),
        constant=True,
        oracle_name="NumPy",
        peers="Keras, torch",
    ),
    row(
        "dirac",
        "gain I in the middle of the window, 0 elsewhere",
        case((3, 4, 4), dirac()),
        case((3, 2, 2, 6), dirac(2, 0.5), groups=2, gain=0.5),
        case((1, 3, 5, 3, 2), dirac()),
        constant=True,
        oracle_name="NumPy",
        peers="torch",
        laws=(keeps_its_inputs,),
    ),
    row(
        "gates",
        "a part of the last axis a gate",
        case(
            (150, 240),
            parts(of_variance("uniform", 2 / (150 + 120)), normal(0.01)),
            parts=("glorot_uniform", "normal"),
        ),
        case((4, 16), parts(*[orthonormal()] * 4), parts=["orthogonal"] * 4),
        case((8,), equals(np.repeat([0, 1, 0, 0], 2)), parts=("zeros", "ones", "zeros", "zeros")),
        peers="",
    ),
    row(
        "sparse",
        "N(0, stddev^2), of each unit a share of 0",
        case(MATRIX, sparse(0.5, 0.01), sparsity=0.5),
        case(MATRIX, sparse(0.9, 0.01)),
        case(KERNEL, sparse(0.25, 2.0), sparsity=0.25, stddev=2.0),
        peers="torch",
    ),
)
