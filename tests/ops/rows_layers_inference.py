"""Rows of ``axonax.tensor.layers``: quantized kernels and sampling."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from axonax.tensor.layers import QuantizedKernel
from ops.row import REDUCTION, Key, OpRow, case

_RANDOM = np.random.default_rng(43)


def _kernel(*shape: int) -> np.ndarray:
    """Weights whose largest is positive: a negative one lies on a tie, which either way is within bounds."""
    drawn = _RANDOM.normal(size=shape)
    drawn[..., ::4, :] = np.abs(drawn).max(-2, keepdims=True) * 1.1
    return drawn


def bytes_of(values: np.ndarray, bits: int) -> np.ndarray:
    """Four bits two a byte, by whole numbers."""
    if bits == 8:
        return values.astype(np.int8)
    low, high = values[..., ::2, :] % 16, values[..., 1::2, :] % 16
    return (low + 16 * high).astype(np.uint8).view(np.int8)


def values_of(kernel: QuantizedKernel) -> np.ndarray:
    """What the bytes hold, by whole numbers."""
    held = np.asarray(kernel.values)
    if kernel.bits == 8:
        return held.astype(np.float64)
    unsigned = held.view(np.uint8).astype(np.int64)
    both = np.stack([unsigned % 16, unsigned // 16], -2)
    both = np.where(both > 7, both - 16, both)
    return both.reshape(*held.shape[:-2], -1, held.shape[-1]).astype(np.float64)


def quantize(kernel: np.ndarray, *, bits: int = 8, group: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Group by group."""
    size = group or kernel.shape[-2]
    values, scales = np.zeros(kernel.shape), []
    top = 2 ** (bits - 1)
    for start in range(0, kernel.shape[-2], size):
        part = kernel[..., start : start + size, :]
        scale = np.abs(part).max(-2) / (top - 0.5)
        ratio = part / np.where(scale == 0, 1, scale)[..., None, :]
        rounded = np.sign(ratio) * np.floor(np.abs(ratio) + 0.5)
        values[..., start : start + size, :] = np.clip(rounded, -top, top - 1)
        scales.append(np.maximum(scale, np.finfo(np.float32).tiny))
    return bytes_of(values.astype(np.int64), bits), np.stack(scales, -2)


def dequantize(kernel: QuantizedKernel) -> np.ndarray:
    values, scale = values_of(kernel), np.asarray(kernel.scale)
    return values * np.repeat(scale, values.shape[-2] // scale.shape[-2], -2)


def within_half_a_step(op: Any) -> None:
    """The bound of the documentation, of kernels of any sign, size and dtype."""
    for magnitude in (1e-30, 1e-3, 1.0, 1e30):
        for bits, group in ((8, None), (4, None), (4, 4), (8, 2)):
            weights = np.random.default_rng(bits).normal(size=(16, 5)) * magnitude
            found = op(jnp.asarray(weights, jnp.float32), bits=bits, group=group)
            steps = np.repeat(np.asarray(found.scale, np.float64), 16 // found.scale.shape[0], 0)
            assert (np.abs(dequantize(found) - weights) <= steps * (0.5 + 1e-4)).all()


def zeros_stay_zeros(op: Any) -> None:
    found = op(jnp.zeros((4, 3)).at[:, 1].set(2.0), bits=4, group=2)
    assert np.isfinite(found.scale).all()
    np.testing.assert_array_equal(dequantize(found)[:, [0, 2]], 0)


def half_precision_as_float32(op: Any) -> None:
    """Scales are float32, exact enough for half precision; float16's largest numbers do not overflow."""
    for dtype in (jnp.float16, jnp.bfloat16):
        weights = jnp.asarray(np.random.default_rng(0).normal(size=(8, 3)) * 2e4, dtype)
        found, wide = op(weights), op(weights.astype(jnp.float32))
        assert found.scale.dtype == jnp.float32
        np.testing.assert_array_equal(found.values, wide.values)
        np.testing.assert_array_equal(found.scale, wide.scale)


def four_bits_take_half(op: Any) -> None:
    weights = jnp.ones((8, 3))
    assert op(weights, bits=4).values.nbytes == op(weights).values.nbytes // 2 == 12
    assert op(weights, bits=4).shape == op(weights).shape == (8, 3)


def greedy(logits: np.ndarray) -> np.ndarray:
    best = logits.argmax(-1)
    drawable = np.isfinite(logits).any(-1) & ~np.isnan(logits).any(-1)
    return np.where(drawable, best, -1)


def truncated(
    logits: np.ndarray, temperature: float = 1.0, top_k: Any = None, top_p: Any = None
) -> np.ndarray:
    """The distribution that must be drawn from, class by class."""
    chances = np.exp((logits - logits.max()) / temperature)
    order = sorted(range(len(logits)), key=lambda each: (-chances[each], each))[:top_k]
    kept, total = [], sum(chances[each] for each in order)
    for each in order:
        if top_p is not None and kept and sum(chances[one] for one in kept) >= top_p * total:
            break
        kept.append(each)
    found = np.zeros(len(logits))
    found[kept] = chances[kept]
    return found / found.sum()


def chance_of(op: Any, logits: np.ndarray, expected: np.ndarray, dtype: Any, **options: Any) -> float:
    """How likely frequencies as far from ``expected`` as those drawn are; 0 if something impossible came."""
    rows = jnp.tile(jnp.asarray(logits, dtype), (20000, 1))
    drawn = np.asarray(op(rows, key=jax.random.key(5), **options))
    counts = np.bincount(drawn, minlength=len(logits))
    possible = expected > 0
    if counts[~possible].any():
        return 0.0
    if possible.sum() == 1:
        return 1.0
    return float(stats.chisquare(counts[possible], expected[possible] * len(drawn)).pvalue)


LOGITS = np.array([1.0, -0.5, 0.25, -np.inf, 1.5, 0.0, -3.0])
DRAWS: tuple[dict[str, Any], ...] = (
    {},
    {"temperature": 0.5},
    {"temperature": 3.0},
    {"top_k": 3},
    {"top_k": 100},
    {"top_p": 0.75},
    {"top_p": 0.0},
    {"top_p": 1.0},
    {"temperature": 2.0, "top_k": 4, "top_p": 0.7},
)


def frequencies(op: Any) -> None:
    """By chi-square; a slightly other distribution would not pass."""
    for options in DRAWS:
        expected = truncated(LOGITS, **options)
        for dtype in (jnp.float32, jnp.bfloat16):
            assert chance_of(op, LOGITS, expected, dtype, **options) > 1e-3, options
    assert chance_of(op, LOGITS, truncated(LOGITS, 1.1), jnp.float32) < 1e-4


def certain_draws(op: Any) -> None:
    """Temperature 0, traced or not, and the best one alone."""
    logits = jnp.asarray(_RANDOM.normal(size=(50, 6)), jnp.float32)
    best = np.asarray(logits).argmax(-1)
    key = jax.random.key(0)
    np.testing.assert_array_equal(op(logits, key=key, temperature=0), best)
    np.testing.assert_array_equal(op(logits, key=key, top_k=1, temperature=9.0), best)
    np.testing.assert_array_equal(op(logits, key=key, top_p=0.0), best)
    draw = jax.jit(lambda heat: op(logits, key=key, temperature=heat, top_p=0.9))
    np.testing.assert_array_equal(draw(0.0), best)
    assert (np.asarray(draw(5.0)) != best).any()


def options_by_row(op: Any) -> None:
    logits = jnp.zeros((4000, 2, 3)).at[..., 0].set(1.0)
    heat, share = jnp.array([0.0, 1.0]), jnp.array([[1.0, 0.3]])
    drawn = np.asarray(op(logits, key=jax.random.key(1), temperature=heat))
    assert set(drawn[:, 0]) == {0}
    assert set(drawn[:, 1]) == {0, 1, 2}
    drawn = np.asarray(op(logits, key=jax.random.key(1), top_p=share))
    assert set(drawn[:, 0]) == {0, 1, 2}
    assert set(drawn[:, 1]) == {0}


def nothing_to_draw(op: Any) -> None:
    """-1 where all is masked or NaN; of infinite ones each; never what is masked."""
    options = {} if op.__name__ == "greedy" else {"key": jax.random.key(2)}
    hot, cold = jnp.inf, -jnp.inf
    rows = jnp.array([[cold] * 3, [jnp.nan, 1, 0], [cold, -1e38, cold], [hot, cold, hot]])
    ways = [{}] if op.__name__ == "greedy" else [{}, {"top_k": 2}, {"top_p": 0.9}, {"temperature": 0.1}]
    for way in ways:
        drawn = np.asarray(op(jnp.tile(rows, (99, 1, 1)), **options, **way))
        assert drawn.dtype == np.int32
        assert [set(drawn[:, row]) for row in range(3)] == [{-1}, {-1}, {1}]
        assert set(drawn[:, 3]) == ({0} if op.__name__ == "greedy" else {0, 2})


def the_key_decides(op: Any) -> None:
    logits = jnp.zeros((100, 5))
    first, again, other = (op(logits, key=jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (np.asarray(first) != np.asarray(other)).any()


def held(inputs: int, units: int, bits: int, groups: int) -> QuantizedKernel:
    """A quantized kernel of NumPy arrays."""
    top = 2 ** (bits - 1)
    values = _RANDOM.integers(-top, top, size=(inputs, units))
    scale = _RANDOM.uniform(0.01, 0.1, size=(groups, units))
    return QuantizedKernel(values=bytes_of(values, bits), scale=scale, bits=bits)


X, BIAS = _RANDOM.normal(size=(2, 3, 8)), _RANDOM.normal(size=4)
CHOICES = _RANDOM.normal(size=(2, 3, 7))
INTEGERS = "the result is integers"

ROWS: tuple[OpRow, ...] = (
    OpRow(
        name="layers.quantize",
        formula="clip(round(kernel / scale)), scale = max |kernel| / (2^bits / 2 - 1/2)",
        oracle=quantize,
        oracle_name="group by group in float64",
        peers="Axon, Keras, torchao",
        cases=(
            case(_kernel(8, 4)),
            case(_kernel(8, 4), bits=4),
            case(_kernel(8, 3), bits=4, group=4),
            case(_kernel(2, 8, 3), group=4),
            case(_kernel(8, 3) * np.array([0.0, 1.0, 1e-20])),
        ),
        gradient="none",
        gradient_reason="rounded",
        half=False,
        torch="quantize(kernel, bits, group)",
        laws=(within_half_a_step, zeros_stay_zeros, half_precision_as_float32, four_bits_take_half),
    ),
    OpRow(
        name="layers.dequantize",
        formula="values scale",
        oracle=dequantize,
        oracle_name="NumPy in float64",
        peers="Axon, Keras, torchao",
        cases=(
            case(held(8, 4, 8, 1)),
            case(held(8, 4, 4, 1)),
            case(held(8, 3, 4, 2)),
            case(held(6, 3, 8, 3)),
            case(held(0, 3, 8, 1)),
        ),
        torch="dequantize(kernel)",
    ),
    OpRow(
        name="layers.quantized_dense",
        formula="x (values scale) + bias",
        oracle=lambda x, kernel, bias=0.0: x @ dequantize(kernel) + bias,
        oracle_name="NumPy in float64",
        peers="Axon, Keras, torchao",
        cases=(
            case(X, held(8, 4, 8, 1), BIAS),
            case(X, held(8, 4, 4, 2), BIAS),
            case(X[0, 0], held(8, 4, 4, 1)),
            case(X, held(8, 4, 8, 4)),
            case(X[:0].copy(), held(8, 4, 8, 1), BIAS),
        ),
        bound=REDUCTION,
        edges=(case(X * 0, held(8, 4, 8, 1), BIAS),),
        torch="F.linear(x, dequantize(kernel).mT, bias)",
    ),
    OpRow(
        name="layers.greedy",
        formula="argmax logits; -1 where none is allowed",
        oracle=greedy,
        oracle_name="NumPy",
        peers="torch.argmax",
        cases=(
            case(CHOICES),
            case(LOGITS),
            case(np.full((2, 3), -np.inf)),
            case(np.zeros((2, 3))),
            case(CHOICES[:0].copy()),
        ),
        gradient="none",
        gradient_reason=INTEGERS,
        torch="logits.argmax(-1).where(logits.max(-1).values > -torch.inf, torch.tensor(-1)).int()",
        laws=(nothing_to_draw,),
    ),
    OpRow(
        name="layers.sample",
        formula="drawn by softmax(logits / temperature) of the top k, and of these of the top p",
        oracle=lambda logits, key, **options: greedy(logits),
        oracle_name="the best at temperature 0 or top_k 1; chi-square against the exact distribution",
        peers="jax.random.categorical, Transformers",
        cases=(
            case(CHOICES, key=Key(1), top_k=1),
            case(CHOICES, key=Key(2), temperature=0.0, top_p=0.5),
            case(CHOICES, key=Key(3), temperature=np.zeros((2, 1))),
            case(np.full(3, -np.inf), key=Key(4)),
            case(CHOICES[:0].copy(), key=Key(5), top_k=3, top_p=0.3),
        ),
        gradient="none",
        gradient_reason=INTEGERS,
        no_torch="another generator draws other classes",
        laws=(frequencies, certain_draws, options_by_row, nothing_to_draw, the_key_decides),
    ),
)
