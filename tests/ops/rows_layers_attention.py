"""Rows of ``axonax.tensor.layers``: attention, its projections and its masks."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ops.row import REDUCTION, Bound, OpRow, case

_RANDOM = np.random.default_rng(53)
QUERY, KEY, VALUE = (_RANDOM.normal(size=size) for size in ((2, 3, 4, 5), (2, 6, 2, 5), (2, 6, 2, 3)))
BIAS = _RANDOM.normal(size=(4, 3, 6))
MASK = _RANDOM.random((2, 1, 3, 6)) < 0.6
NOBODY = np.zeros((3, 6), bool)
HIDDEN = np.where(np.arange(3)[:, None] == 1, -np.inf, BIAS)
PARAMS = {
    name: {"kernel": _RANDOM.normal(size=(8, 2, 4)), "bias": _RANDOM.normal(size=(2, 4))}
    for name in ("query", "key", "value")
} | {"output": {"kernel": _RANDOM.normal(size=(2, 4, 8)), "bias": _RANDOM.normal(size=8)}}
GROUPED = {
    name: {"kernel": _RANDOM.normal(size=size)}
    for name, size in {"query": (5, 4, 3), "key": (6, 2, 3), "value": (6, 2, 2), "output": (4, 2, 7)}.items()
}


def weights(
    query: Any,
    key: Any,
    *,
    bias: Any = 0.0,
    mask: Any = True,
    causal: bool = False,
    window: Any = None,
    query_lengths: Any = None,
    key_lengths: Any = None,
    scale: Any = None,
    soft_cap: Any = None,
) -> np.ndarray:
    """The weights one by one."""
    (batch, queries, heads, size), (keys, kv_heads) = query.shape, key.shape[1:3]
    shape = (batch, heads, queries, keys)
    bias, mask = np.broadcast_to(bias, shape), np.broadcast_to(mask, shape)
    left, right = window if isinstance(window, tuple) else (window, window)
    found = np.zeros(shape)
    for b, n, t in itertools.product(range(batch), range(heads), range(queries)):
        here = t + keys - queries
        seen = [
            s
            for s in range(keys)
            if mask[b, n, t, s]
            and not (causal and s > here)
            and (left is None or s >= here - left)
            and (right is None or s <= here + right)
            and (query_lengths is None or t < query_lengths[b])
            and (key_lengths is None or s < key_lengths[b])
        ]
        held = key[b, seen, n // (heads // kv_heads)]
        scores = (size**-0.5 if scale is None else scale) * (held @ query[b, t, n])
        scores = soft_cap * np.tanh(scores / soft_cap) if soft_cap else scores
        scores = scores + bias[b, n, t, seen]
        if seen and scores.max() > -np.inf:
            powers = np.exp(scores - scores.max())
            found[b, n, t, seen] = powers / powers.sum()
    return found


def attention(query: Any, key: Any, value: Any, *, implementation: Any = None, **options: Any) -> np.ndarray:
    share = weights(query, key, **options)
    each = np.repeat(value, query.shape[2] // key.shape[2], 2)
    return np.einsum("bnts,bsnv->btnv", share, each)


def multi_head(x: Any, params: Any, context: Any = None, **options: Any) -> np.ndarray:
    context = x if context is None else context
    query, key, value = (
        np.einsum("bti,ihd->bthd", source, params[name]["kernel"]) + params[name].get("bias", 0.0)
        for name, source in (("query", x), ("key", context), ("value", context))
    )
    found = attention(query, key, value, **options)
    return np.einsum("bthd,hdu->btu", found, params["output"]["kernel"]) + params["output"].get("bias", 0.0)


def window_mask(queries: int, keys: Any = None, *, window: Any = (None, 0), offset: Any = None) -> np.ndarray:
    keys = queries if keys is None else keys
    offset = keys - queries if offset is None else offset
    left, right = window if isinstance(window, tuple) else (window, window)
    rows = [range(keys)] * queries
    return np.array(
        [
            [
                (left is None or s >= t + offset - left) and (right is None or s <= t + offset + right)
                for s in row
            ]
            for t, row in enumerate(rows)
        ],
        bool,
    ).reshape(queries, keys)


def single(*arrays: Any) -> list[jax.Array]:
    return [jnp.asarray(each, jnp.float32) for each in arrays]


def causal_is_a_mask(op: Any) -> None:
    for queries, keys in ((3, 6), (6, 6), (6, 4)):
        q, k, v = single(np.resize(QUERY, (2, queries, 4, 5)), KEY[:, :keys], VALUE[:, :keys])
        mask = jnp.asarray(window_mask(queries, keys))
        np.testing.assert_allclose(op(q, k, v, causal=True), op(q, k, v, mask=mask), rtol=1e-6, atol=1e-6)


def who_sees_nothing_gets_zero(op: Any) -> None:
    """Exactly 0, gradient 0 there and finite elsewhere: by a mask, a bias, both, lengths."""
    one = np.arange(3) == 1
    ways = (
        {"mask": jnp.asarray(~one)[:, None]},
        {"bias": jnp.where(one, -jnp.inf, 0.0)[:, None]},
        {"mask": jnp.arange(6)[None] < 3, "bias": jnp.where(one[:, None] & (np.arange(6) < 3), -jnp.inf, 0)},
        {"query_lengths": jnp.array([1, 2])},
        {"key_lengths": jnp.array([0, 3])},
    )
    # jax.nn compiles float16 for no CPU.
    how = ((None, jnp.float32), (None, jnp.float16), (None, jnp.bfloat16), ("xla", jnp.float32))
    for implementation, dtype in how:
        arrays = [jnp.asarray(each, dtype) for each in (QUERY, KEY, np.resize(VALUE, KEY.shape))]

        def summed(*arrays: Any, options: Any, implementation: Any = implementation) -> Any:
            found = op(*arrays, **options, implementation=implementation)
            return jnp.sum(jnp.sin(found)), found

        each_way = [jax.grad(functools.partial(summed, options=way), (0, 1, 2), has_aux=True) for way in ways]
        every = jax.jit(lambda *arrays, each_way=each_way: [way(*arrays) for way in each_way])
        for (gradients, found), options in zip(every(*arrays), ways, strict=True):
            blind = np.asarray(found == 0).all((2, 3))
            expected = attention(*(np.asarray(each, np.float64) for each in arrays), **options)
            assert blind.any()
            assert (blind == (expected == 0).all((2, 3))).all()
            assert (np.asarray(gradients[0])[blind] == 0).all()
            assert all(np.isfinite(np.asarray(each, np.float32)).all() for each in gradients)


def implementations_agree(op: Any) -> None:
    """What is handed to jax.nn means the same, alignment, windows and lengths included."""
    q, k, v = single(QUERY, KEY, np.resize(VALUE, KEY.shape))
    longer = jnp.concatenate([q, q], 1)
    lengths = {"query_lengths": jnp.array([5, 2]), "key_lengths": jnp.array([3, 0])}
    for query, options in itertools.product(
        (q, longer),
        (
            {},
            {"causal": True},
            {"window": 1},
            {"window": (2, 0)},
            {"window": (None, 1), "scale": 0.3},
            {"causal": True, "window": (2, None)},
            {"causal": True, **lengths},
            {"bias": jnp.asarray(np.resize(BIAS, (4, 1, 6)), jnp.float32), "mask": jnp.arange(6) > 0},
        ),
    ):
        expected = op(query, k, v, **options)
        found = op(query, k, v, **options, implementation="xla")
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)


def fewer_heads_are_repeated_ones(op: Any) -> None:
    q, k, v = single(QUERY, KEY, VALUE)
    repeated = op(q, jnp.repeat(k, 2, 2), jnp.repeat(v, 2, 2))
    np.testing.assert_allclose(op(q, k, v), repeated, rtol=1e-6, atol=1e-6)


def dropped_weights(op: Any) -> None:
    """A share of the weights is 0, the others grow; rate 0 changes nothing, rate 1 leaves nothing."""
    q, k = jnp.zeros((20, 10, 2, 4)), jnp.zeros((20, 50, 2, 4))
    v = jnp.broadcast_to(jnp.eye(50)[None, :, None], (20, 50, 2, 50))
    key = jax.random.key(3)
    found = np.asarray(op(q, k, v, dropout_rate=0.4, dropout_key=key))
    assert abs((found == 0).mean() - 0.4) < 0.02
    np.testing.assert_allclose(found[found > 0], 0.02 / 0.6, rtol=1e-5)
    np.testing.assert_array_equal(op(q, k, v, dropout_rate=0.0, dropout_key=key), op(q, k, v))
    np.testing.assert_array_equal(op(q, k, v, dropout_rate=0.4), op(q, k, v))
    gradient = jax.grad(lambda v: op(q, k, v, dropout_rate=1.0, dropout_key=key).sum())(v)
    assert (np.asarray(gradient) == 0).all()


def large_scores_stay_finite(op: Any) -> None:
    q, k, v = (100 * each for each in single(QUERY, KEY, VALUE))
    for dtype in (jnp.float32, jnp.bfloat16):
        call = jax.grad(lambda *each: op(*each, causal=True).astype(jnp.float32).sum(), (0, 1, 2))
        gradients = call(*(each.astype(dtype) for each in (q, k, v)))
        assert all(np.isfinite(np.asarray(each, np.float32)).all() for each in gradients)


def bias_has_its_gradient(op: Any) -> None:
    """Against differences in float64, broadcast over batch and heads."""
    with jax.enable_x64(True):
        q, k, v, bias = (jnp.asarray(each) for each in (QUERY, KEY, VALUE, BIAS[:1, :1]))

        def summed(bias: Any) -> Any:
            return jnp.sum(jnp.sin(op(q, k, v, bias=bias, causal=True)))

        step = np.zeros(bias.shape)
        step[..., 2] = 1e-5
        difference = (summed(bias + step) - summed(bias - step)) / 2e-5
        np.testing.assert_allclose(jax.grad(summed)(bias)[..., 2].sum(), difference, rtol=1e-8)


def one_row_for_each_sequence(op: Any) -> None:
    assert np.array_equal(op(jnp.array([0, 2, 5]), 3)[:, 0, 0], np.arange(3) < np.array([[0], [2], [5]]))


CONSTANT = {"gradient": "none", "gradient_reason": "booleans", "half": False, "no_torch": "torch has none"}

ROWS: tuple[OpRow, ...] = (
    OpRow(
        name="layers.dot_product_attention",
        formula="softmax(scale query key^T + bias) value over the keys that are seen; over none 0",
        oracle=attention,
        oracle_name="each weight by itself in float64",
        peers="JAX, Flax, Keras, torch",
        cases=(
            case(QUERY, KEY, VALUE, causal=True),
            case(QUERY, KEY, VALUE),
            case(QUERY, KEY[:, :, :1].copy(), VALUE[:, :, :1].copy(), bias=BIAS, mask=MASK),
            case(QUERY, KEY, VALUE, window=(2, 1)),
            case(QUERY, KEY, VALUE, window=1, causal=True),
            case(QUERY, KEY, VALUE, query_lengths=np.array([3, 1]), key_lengths=np.array([0, 4])),
            case(QUERY, KEY[:, :2].copy(), VALUE[:, :2].copy(), causal=True),
            case(QUERY, KEY, VALUE, scale=0.3, soft_cap=2.0),
            case(QUERY, KEY, VALUE, bias=HIDDEN, mask=NOBODY[:1] | (np.arange(6) > 2)),
            case(QUERY, KEY[:, :1].copy(), VALUE[:, :1].copy()),
            case(QUERY, KEY[:, :0].copy(), VALUE[:, :0].copy()),
            case(QUERY[:0].copy(), KEY[:0].copy(), VALUE[:0].copy(), causal=True),
            case(QUERY[:, :0].copy(), KEY, VALUE),
        ),
        bound=REDUCTION,
        edges=(
            case(QUERY, KEY, VALUE, mask=NOBODY),
            case(QUERY, KEY, VALUE, bias=HIDDEN),
            case(QUERY, KEY[:, :0].copy(), VALUE[:, :0].copy()),
            case(1e4 * QUERY, 1e4 * KEY, VALUE, causal=True),
        ),
        torch="attention(query, key, value, (bias, mask, causal, window, query_lengths, key_lengths), scale)",
        laws=(
            causal_is_a_mask,
            who_sees_nothing_gets_zero,
            implementations_agree,
            fewer_heads_are_repeated_ones,
            dropped_weights,
            large_scores_stay_finite,
            bias_has_its_gradient,
        ),
    ),
    OpRow(
        name="layers.attention_weights",
        formula="softmax(scale query key^T + bias) over the keys that are seen; over none 0",
        oracle=weights,
        oracle_name="each weight by itself in float64",
        peers="Flax, Keras, torch",
        cases=(
            case(QUERY, KEY, bias=BIAS, causal=True),
            case(QUERY, KEY, mask=MASK, window=(3, 0), key_lengths=np.array([4, 0])),
            case(QUERY, KEY, scale=2.0, soft_cap=1.5, query_lengths=np.array([0, 2])),
            case(QUERY, KEY[:, :0].copy()),
        ),
        bound=Bound(16, relative=1e-6),
        edges=(case(QUERY, KEY, mask=NOBODY),),
        torch="weights(query, key, (bias, mask, causal, window, query_lengths, key_lengths), scale)",
    ),
    OpRow(
        name="layers.project_heads",
        formula="x kernel + bias, for each head",
        oracle=lambda x, kernel, bias=0.0: np.einsum("...i,ihd->...hd", x, kernel) + bias,
        oracle_name="einsum in float64",
        peers="Flax, Keras",
        cases=(
            case(QUERY[:, :, 0].copy(), _RANDOM.normal(size=(5, 2, 3)), _RANDOM.normal(size=(2, 3))),
            case(QUERY[0, 0, 0].copy(), _RANDOM.normal(size=(5, 2, 3))),
            case(np.zeros((0, 5)), _RANDOM.normal(size=(5, 2, 3))),
        ),
        bound=REDUCTION,
        torch="torch.einsum('...i,ihd->...hd', x, kernel) + (0 if bias is None else bias)",
    ),
    OpRow(
        name="layers.merge_heads",
        formula="sum over heads of x kernel, + bias",
        oracle=lambda x, kernel, bias=0.0: np.einsum("...hd,hdu->...u", x, kernel) + bias,
        oracle_name="einsum in float64",
        peers="Flax, Keras",
        cases=(
            case(QUERY, _RANDOM.normal(size=(4, 5, 3)), _RANDOM.normal(size=3)),
            case(QUERY[0, 0], _RANDOM.normal(size=(4, 5, 3))),
        ),
        bound=REDUCTION,
        torch="F.linear(x.flatten(-2), kernel.flatten(0, 1).mT, bias)",
    ),
    OpRow(
        name="layers.multi_head_attention",
        formula="heads of x and context, attention, merged",
        oracle=multi_head,
        oracle_name="einsum and each weight by itself in float64",
        peers="Flax, Keras, torch",
        cases=(
            case(_RANDOM.normal(size=(2, 3, 8)) / 3, PARAMS, causal=True),
            case(_RANDOM.normal(size=(2, 3, 8)) / 3, PARAMS, _RANDOM.normal(size=(2, 5, 8)) / 3),
            case(_RANDOM.normal(size=(2, 3, 5)), GROUPED, _RANDOM.normal(size=(2, 4, 6)), window=2),
        ),
        bound=REDUCTION,
        half=False,
        torch="multi_head(x, params, context, options.get('causal', False))",
    ),
    OpRow(
        name="layers.causal_mask",
        formula="key <= offset + query",
        oracle=window_mask,
        oracle_name="one by one",
        peers="Flax",
        cases=(case(3, 4, offset=np.array(2)), case(3), case(2, 4), case(4, 2), case(0, 3)),
        **CONSTANT,
    ),
    OpRow(
        name="layers.sliding_window_mask",
        formula="-left <= key - offset - query <= right",
        oracle=window_mask,
        oracle_name="one by one",
        peers="JAX",
        cases=(
            case(2, 6, window=(2, 1), offset=np.array(3)),
            case(3, 5, window=1),
            case(3, window=(None, 0)),
        ),
        **CONSTANT,
    ),
    OpRow(
        name="layers.padding_mask",
        formula="key < length",
        oracle=lambda lengths, size: np.array([[[[s < n for s in range(size)]]] for n in lengths]),
        oracle_name="one by one",
        peers="JAX",
        cases=(case(np.array([0, 2, 5]), 4),),
        laws=(one_row_for_each_sequence,),
        **CONSTANT,
    ),
    OpRow(
        name="layers.segment_mask",
        formula="query_segment = key_segment",
        oracle=lambda one, two=None: np.array(
            [
                [[[a == b for b in y] for a in x]]
                for x, y in zip(one, one if two is None else two, strict=True)
            ]
        ),
        oracle_name="one by one",
        peers="Flax",
        cases=(case(np.array([[0, 0, 1], [2, 3, 3]])), case(np.array([[0, 1]]), np.array([[1, 0, 1]]))),
        **CONSTANT,
    ),
)
